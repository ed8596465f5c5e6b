package nfacct

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/testnet"
)

// TestCounter: it is made once, read, and taken away.
func TestCounter(t *testing.T) {
	testnet.NewSpace(t).In(t, func() error {
		if err := Ensure("x"); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			t.Skipf("the kernel has no such counters: %v", err)
		} else if err != nil {
			return err
		}
		if err := Ensure("x"); err != nil {
			t.Errorf("a counter that is there: %v", err)
		}
		if n, err := Packets("x"); n != 0 || err != nil {
			t.Errorf("a new counter is %d, %v", n, err)
		}
		for range 2 {
			if err := Remove("x"); err != nil {
				t.Error(err)
			}
		}
		if _, err := Packets("x"); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a counter that is gone: %v", err)
		}
		return nil
	})
}

// TestAnswers: the kernel's number is in network order; an answer that has
// none, or ends early, is told.
func TestAnswers(t *testing.T) {
	attr := func(typ int, v []byte) []byte { return nl.NewRtAttr(typ, v).Serialize() }
	head := make([]byte, nl.SizeofNfgenmsg)
	number := binary.BigEndian.AppendUint64(nil, 4321)
	for _, c := range []struct {
		answer []byte
		want   uint64
		ok     bool
	}{
		{append(append(head[:4:4], attr(attrName, []byte("x\x00"))...), attr(attrPackets, number)...), 4321, true},
		{append(head[:4:4], attr(attrName, []byte("x\x00"))...), 0, false},
		{append(head[:4:4], attr(attrPackets, number[:4])...), 0, false},
		{head[:3], 0, false},
		{append(head[:4:4], 200, 0, 2, 0), 0, false},
	} {
		if got, ok := packetsOf(c.answer); got != c.want || ok != c.ok {
			t.Errorf("%x: %d, %t; want %d, %t", c.answer, got, ok, c.want, c.ok)
		}
	}
}
