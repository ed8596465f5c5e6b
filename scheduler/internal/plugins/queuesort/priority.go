// Package queuesort orders the active queue.
package queuesort

import "xebec.dev/scheduler/internal/framework"

// Name of the plugin.
const Name = "PrioritySort"

// Plugin implements QueueSort: higher priority first, then who came earlier.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

// Less implements framework.QueueSorter.
func (Plugin) Less(a, b *framework.Queued) bool {
	if pa, pb := a.Pod.Priority(), b.Pod.Priority(); pa != pb {
		return pa > pb
	}
	return a.Added.Before(b.Added)
}
