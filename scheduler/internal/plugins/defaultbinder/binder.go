// Package defaultbinder names the scheduler's own way to bind: Binding
// objects, sent in batches by package bind.
package defaultbinder

import (
	"context"

	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "DefaultBinder"

// Plugin implements Bind.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

// Bind leaves the binding to the scheduler's batch.
func (Plugin) Bind(context.Context, *framework.Attempt) *framework.Status { return nil }
