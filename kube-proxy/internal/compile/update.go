package compile

import "net/netip"

// Change is a Service that means something else than before.
type Change struct {
	Name string
	// Old and New are nil where the Service means nothing.
	Old, New *Service
}

// Update is what a backend is told. No two services have a frontend in
// common.
type Update struct {
	// Full updates have all services as changes without Old: what was before
	// must be forgotten.
	Full    bool
	Changes []Change
	// NodePorts are the networks of the node's addresses that node ports are
	// reached at.
	NodePorts []netip.Prefix
}
