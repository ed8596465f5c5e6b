package plan

import (
	"xebec.dev/kubelet/internal/runtime"
)

// clean removes what nobody asks for any more: all runs of a container that
// ended but the newest, which is its last state, and sandboxes that are
// neither the newest nor have containers.
func (p *planner) clean() {
	if p.in.Observed == nil {
		return
	}
	ended := map[string]bool{}
	kept := map[string]bool{} // sandboxes
	for _, c := range p.in.Observed.Containers {
		if c.State == runtime.Exited || c.State == runtime.Created && p.superseded(c) {
			if ended[c.Name] || c.State == runtime.Created {
				p.add(Action{Op: Remove, Name: c.Name, ID: c.ID})
				continue
			}
			ended[c.Name] = true
		}
		kept[c.SandboxID] = true
	}
	for i, s := range p.in.Observed.Sandboxes {
		if i > 0 && !s.Ready && !kept[s.ID] {
			p.add(Action{Op: RemoveSandbox, ID: s.ID})
		}
	}
}

// superseded reports whether a container that never started has a successor.
func (p *planner) superseded(c *runtime.Container) bool {
	newest := p.in.Observed.Container(c.Name)
	return newest != nil && newest.ID != c.ID
}
