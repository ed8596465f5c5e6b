// Package always has the two plugins that say the same to everything, for
// tests of what is around them.
package always

import (
	"context"
	"errors"

	"xebec.dev/apiserver/internal/admission"
)

// Admit implements AlwaysAdmit.
type Admit struct{}

// Name implements admission.Plugin.
func (Admit) Name() string { return "AlwaysAdmit" }

// Handles implements admission.Plugin.
func (Admit) Handles(admission.Operation) bool { return true }

// Deny implements AlwaysDeny.
type Deny struct{}

// Name implements admission.Plugin.
func (Deny) Name() string { return "AlwaysDeny" }

// Handles implements admission.Plugin.
func (Deny) Handles(admission.Operation) bool { return true }

var errDeny = errors.New("admission control is denying all modifications")

// Admit implements admission.Mutator.
func (Deny) Admit(_ context.Context, a *admission.Attributes) error { return a.Forbid(errDeny) }

// Validate implements admission.Validator.
func (Deny) Validate(_ context.Context, a *admission.Attributes) error { return a.Forbid(errDeny) }
