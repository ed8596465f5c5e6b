package ipvs

import (
	"net/netip"
	"slices"
)

// claims say whose virtual server each is. No two services have a frontend in
// common, but one's node port may be another's external address and port: it
// is the first one's, until that goes.
type claims struct {
	holders   map[Key][]claim // the first has it
	mine      map[string][]Key
	bound     map[string][]netip.Addr
	addresses map[netip.Addr]int  // how many services have an address
	moved     map[netip.Addr]bool // addresses that may have to be given or taken
}

type claim struct {
	name    string
	virtual *Virtual
}

func newClaims() *claims {
	return &claims{holders: map[Key][]claim{}, mine: map[string][]Key{}, bound: map[string][]netip.Addr{}, addresses: map[netip.Addr]int{}, moved: map[netip.Addr]bool{}}
}

// virtual is what a key should be; nil for nothing.
func (c *claims) virtual(k Key) *Virtual {
	if all := c.holders[k]; len(all) > 0 {
		return all[0].virtual
	}
	return nil
}

func (c *claims) claim(name string, all []*Virtual, addresses []netip.Addr, touched map[Key]bool) {
	for _, v := range all {
		touched[v.Key] = true
		c.holders[v.Key] = append(c.holders[v.Key], claim{name, v})
		c.mine[name] = append(c.mine[name], v.Key)
	}
	for _, a := range addresses {
		c.addresses[a]++
		c.moved[a] = true
	}
	c.bound[name] = addresses
}

func (c *claims) release(name string, touched map[Key]bool) {
	for _, k := range c.mine[name] {
		touched[k] = true
		rest := slices.DeleteFunc(c.holders[k], func(x claim) bool { return x.name == name })
		if len(rest) == 0 {
			delete(c.holders, k)
		} else {
			c.holders[k] = rest
		}
	}
	delete(c.mine, name)
	for _, a := range c.bound[name] {
		c.moved[a] = true
		if c.addresses[a]--; c.addresses[a] == 0 {
			delete(c.addresses, a)
		}
	}
	delete(c.bound, name)
}
