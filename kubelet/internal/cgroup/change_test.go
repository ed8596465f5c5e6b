package cgroup

import "testing"

// What a group has, what it should have, how that differs, and what is set
// while both hold.
func TestCompare(t *testing.T) {
	limit := func(shares uint64, quota, memory int64) Limit {
		return Limit{Shares: &shares, Quota: &quota, Period: 100000, Memory: &memory}
	}
	const none, huge = -1, 9223372036854771712 // the first version's largest
	for _, c := range []struct {
		name       string
		have, want Limit
		change     Change
		between    string
	}{
		{"the same", limit(10, 5000, 1<<20), limit(10, 5000, 1<<20), Change{}, "shares=10 quota=5000/100000 memory=1048576"},
		{"no bounds", limit(10, none, huge), limit(10, none, none), Change{}, "shares=10 quota=-1/100000 memory=-1"},
		{"what the kernel rounds", limit(10, none, 1<<20), limit(10, none, 1<<20+5), Change{}, "shares=10 quota=-1/100000 memory=1048581"},
		{"more", limit(10, 5000, 1<<20), limit(20, 6000, 2<<20), Change{Grows: true}, "shares=20 quota=6000/100000 memory=2097152"},
		{"less", limit(10, 5000, 2<<20), limit(10, 4000, 1<<20), Change{Shrinks: true, Memory: 1 << 20}, "shares=10 quota=5000/100000 memory=2097152"},
		{"less processor, more memory", limit(10, 5000, 1<<20), limit(10, 4000, 2<<20), Change{Grows: true, Shrinks: true}, "shares=10 quota=5000/100000 memory=2097152"},
		{"bounds that are new", limit(10, none, huge), limit(10, 4000, 1<<20), Change{Shrinks: true, Memory: 1 << 20}, "shares=10 quota=-1/100000 memory=-1"},
		{"bounds that go", limit(10, 4000, 1<<20), limit(10, none, none), Change{Grows: true}, "shares=10 quota=-1/100000 memory=-1"},
		{"weight only", limit(10, none, none), limit(5, none, none), Change{Grows: true}, "shares=5 quota=-1/100000 memory=-1"},
	} {
		if got := compare(c.have, c.want); got != c.change {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.change)
		}
		if got := larger(c.have, c.want).String(); got != c.between {
			t.Errorf("%s: between is %s, want %s", c.name, got, c.between)
		}
	}
}
