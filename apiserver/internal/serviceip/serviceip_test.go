package serviceip

import (
	"net/netip"
	"testing"
)

func TestUsable(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.0/29")
	for ip, want := range map[string]bool{"10.0.0.0": false, "10.0.0.1": true, "10.0.0.6": true, "10.0.0.7": false} {
		if got := usable(p, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if n := hosts(p); n != 6 {
		t.Errorf("hosts %d, want 6", n)
	}
	if a := add(netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff"), 1); a.String() != "fd00:0:0:1::" {
		t.Errorf("carry: %s", a)
	}
}

func TestStaticBand(t *testing.T) {
	for size, want := range map[uint64]uint64{6: 0, 14: 0, 254: 16, 65534: 256, 4094: 255} {
		if got := staticBand(size); got != want {
			t.Errorf("size %d: band %d, want %d", size, got, want)
		}
	}
}
