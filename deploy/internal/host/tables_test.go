package host

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// TestShellsOfIPTables: what does nothing, was not there before, and is called
// as iptables calls it.
func TestShellsOfIPTables(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	runtime.LockOSThread() // and never unlocked: the thread goes with its namespace
	if err := syscall.Unshare(syscall.CLONE_NEWNET); errors.Is(err, syscall.EPERM) {
		t.Skipf("a network namespace needs CAP_SYS_ADMIN: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	c := &nftables.Conn{}
	if _, err := c.ListTables(); unsupported(err) {
		t.Skipf("this kernel has no nftables: %v", err)
	}
	accept, drop := nftables.ChainPolicyAccept, nftables.ChainPolicyDrop
	make := func(family nftables.TableFamily, name string, policy *nftables.ChainPolicy) (*nftables.Table, *nftables.Chain) {
		table := c.AddTable(&nftables.Table{Family: family, Name: name})
		return table, c.AddChain(&nftables.Chain{Table: table, Name: "INPUT", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput,
			Priority: nftables.ChainPriorityFilter, Policy: policy})
	}
	make(nftables.TableFamilyIPv4, "filter", &accept)
	make(nftables.TableFamilyIPv6, "filter", &drop)
	c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv6, Name: "mangle"})
	c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "security"})
	c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "filter"})
	c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "mine"})
	table, chain := make(nftables.TableFamilyIPv4, "raw", &accept)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
	own, _ := make(nftables.TableFamilyIPv4, "nat", &accept)
	c.AddChain(&nftables.Chain{Table: own, Name: "OTHERS"})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := (&Snapshot{Tables: []string{"security"}}).RemoveShells(); err != nil {
		t.Fatal(err)
	}
	left, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range left {
		names = append(names, map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip ", nftables.TableFamilyIPv6: "ip6 ", nftables.TableFamilyINet: "inet "}[l.Family]+l.Name)
	}
	slices.Sort(names)
	if got := strings.Join(names, ", "); got != "inet filter, ip mine, ip nat, ip raw, ip security, ip6 filter" {
		t.Errorf("left: %s", got)
	}
}
