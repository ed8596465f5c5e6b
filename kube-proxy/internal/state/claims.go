package state

import (
	"net/netip"
	"slices"

	"xebec.dev/kube-proxy/internal/compile"
)

// claims gives each frontend to one service: the first by name. Two services
// may want the same external address and port; the other one gets it when the
// first goes.
type claims struct {
	services map[string]*claimant
	owners   map[place]string
	rivals   map[place][]string // all who want it, in order, where several do
}

type claimant struct {
	wants *compile.Service
	gets  *compile.Service
}

// place is where a frontend is.
type place struct {
	addr     netip.Addr // zero for node ports
	port     uint16
	protocol uint8
	v4       bool
}

func placeOf(f *compile.Frontend) place { return place{f.Addr, f.Port, f.Protocol, f.V4} }

func newClaims() *claims {
	return &claims{services: map[string]*claimant{}, owners: map[place]string{}, rivals: map[place][]string{}}
}

// put says what services mean now, nil for nothing, and gives the changes.
func (c *claims) put(now map[string]*compile.Service) (out []compile.Change) {
	affected := map[string]bool{}
	for name, s := range now {
		if s != nil && len(s.Frontends) == 0 && s.Health == nil {
			s = nil
		}
		x := c.services[name]
		if x == nil && s == nil {
			continue
		}
		affected[name] = true
		if x == nil {
			x = &claimant{}
			c.services[name] = x
		}
		old := x.wants
		x.wants = s
		c.move(name, old, s, affected)
	}
	for name := range affected {
		x := c.services[name]
		old := x.gets
		x.gets = c.settle(name, x.wants)
		if x.wants == nil {
			delete(c.services, name)
		}
		if old == nil && x.gets == nil || old != nil && x.gets != nil && old.Equal(x.gets) {
			x.gets = old // the one that the backend was told of
			continue
		}
		out = append(out, compile.Change{Name: name, Old: old, New: x.gets})
	}
	return out
}

func (c *claims) move(name string, old, now *compile.Service, affected map[string]bool) {
	kept := map[place]bool{}
	if now != nil {
		for i := range now.Frontends {
			p := placeOf(&now.Frontends[i])
			kept[p] = true
			c.claim(p, name, affected)
		}
	}
	if old == nil {
		return
	}
	for i := range old.Frontends {
		if p := placeOf(&old.Frontends[i]); !kept[p] {
			kept[p] = true // it may be there twice
			c.release(p, name, affected)
		}
	}
}

func (c *claims) claim(p place, name string, affected map[string]bool) {
	owner, taken := c.owners[p]
	if !taken {
		c.owners[p] = name
		return
	}
	all := c.rivals[p]
	if len(all) == 0 {
		if owner == name {
			return
		}
		all = []string{owner}
	}
	if at, have := slices.BinarySearch(all, name); !have {
		all = slices.Insert(all, at, name)
		c.rivals[p] = all
	}
	c.hand(p, all[0], affected)
}

func (c *claims) release(p place, name string, affected map[string]bool) {
	all := c.rivals[p]
	if len(all) == 0 {
		delete(c.owners, p)
		return
	}
	all = slices.DeleteFunc(all, func(n string) bool { return n == name })
	if len(all) > 1 {
		c.rivals[p] = all
	} else {
		delete(c.rivals, p)
	}
	c.hand(p, all[0], affected)
}

// hand gives a place to a service.
func (c *claims) hand(p place, name string, affected map[string]bool) {
	if was := c.owners[p]; was != name {
		affected[was], affected[name] = true, true
		c.owners[p] = name
	}
}

// settle is what a service gets of what it wants: each place once.
func (c *claims) settle(name string, wants *compile.Service) *compile.Service {
	if wants == nil {
		return nil
	}
	seen := make(map[place]bool, len(wants.Frontends))
	lost := 0
	gets := func(f *compile.Frontend) bool {
		p := placeOf(f)
		if c.owners[p] != name || seen[p] {
			return false
		}
		seen[p] = true
		return true
	}
	mine := make([]bool, len(wants.Frontends))
	for i := range wants.Frontends {
		mine[i] = gets(&wants.Frontends[i])
		if !mine[i] {
			lost++
		}
	}
	if lost == 0 {
		return wants
	}
	out := &compile.Service{Name: wants.Name, Health: wants.Health}
	for i, m := range mine {
		if m {
			out.Frontends = append(out.Frontends, wants.Frontends[i])
		}
	}
	return out
}

// all are changes from nothing.
func (c *claims) all() (out []compile.Change) {
	for name, x := range c.services {
		if x.gets != nil {
			out = append(out, compile.Change{Name: name, New: x.gets})
		}
	}
	slices.SortFunc(out, func(a, b compile.Change) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}
