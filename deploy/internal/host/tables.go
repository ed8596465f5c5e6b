package host

import (
	"errors"
	"slices"

	"github.com/google/nftables"
)

// builtIn are the tables that iptables makes of itself, in whichever family,
// when it is first asked for something.
var builtIn = []string{"filter", "nat", "mangle", "raw", "security"}

// RemoveShells removes the tables that kube-proxy's iptables made and left empty,
// as it always does. A name that was there before is left alone.
func (s *Snapshot) RemoveShells() error {
	if s == nil {
		return nil
	}
	c := &nftables.Conn{}
	tables, err := c.ListTables()
	if unsupported(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range tables {
		ofIPTables := t.Family == nftables.TableFamilyIPv4 || t.Family == nftables.TableFamilyIPv6
		if !ofIPTables || !slices.Contains(builtIn, t.Name) || slices.Contains(s.Tables, t.Name) {
			continue
		}
		empty, err := isShell(c, t)
		if err == nil && empty {
			c.DelTable(t)
			err = c.Flush()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isShell says whether a table does nothing: chains that let everything
// through, without rules.
func isShell(c *nftables.Conn, t *nftables.Table) (bool, error) {
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return false, err
	}
	for _, chain := range chains {
		if chain.Table.Name != t.Name {
			continue
		}
		if chain.Hooknum == nil || chain.Policy != nil && *chain.Policy != nftables.ChainPolicyAccept {
			return false, nil
		}
		rules, err := c.GetRules(t, chain)
		if err != nil || len(rules) > 0 {
			return false, err
		}
	}
	sets, err := c.GetSets(t)
	return len(sets) == 0, err
}
