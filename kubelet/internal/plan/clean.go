package plan

import (
	"xebec.dev/kubelet/internal/runtime"
)

// clean removes what nobody asks for any more: all runs of a container that
// ended but the newest, which is its last state, and sandboxes that are
// neither the newest nor have containers.
func (p *planner) clean() {
	ended := map[string]bool{}
	p.out.Actions = append(p.out.Actions, remove(p.in.Observed, func(c *runtime.Container) bool {
		last := !ended[c.Name]
		ended[c.Name] = true
		return !last
	})...)
}

// Purge removes all runs that have ended and that others have followed, where
// room is needed more than their logs: last states stay in the pod's status. One
// whose successor has not started yet stays.
func Purge(seen *runtime.Pod) []Action {
	return remove(seen, func(c *runtime.Container) bool {
		return superseded(seen, c) && seen.Container(c.Name).State != runtime.Created
	})
}

// remove removes those of the runs that ended of which gone says so, runs that
// never started and others have followed, and sandboxes that are neither the
// newest nor have containers then.
func remove(seen *runtime.Pod, gone func(*runtime.Container) bool) (out []Action) {
	if seen == nil {
		return nil
	}
	kept := map[string]bool{} // sandboxes
	for _, c := range seen.Containers {
		if c.State == runtime.Exited && gone(c) || c.State == runtime.Created && superseded(seen, c) {
			out = append(out, Action{Op: Remove, Name: c.Name, ID: c.ID})
			continue
		}
		kept[c.SandboxID] = true
	}
	for i, s := range seen.Sandboxes {
		if i > 0 && !s.Ready && !kept[s.ID] {
			out = append(out, Action{Op: RemoveSandbox, ID: s.ID})
		}
	}
	return out
}

// superseded reports whether a run has a successor.
func superseded(seen *runtime.Pod, c *runtime.Container) bool {
	newest := seen.Container(c.Name)
	return newest != nil && newest.ID != c.ID
}
