// Package nfacct has counters of packets that the kernel keeps by name, in
// each network namespace: rules of iptables count in them, and they outlive
// both the rules and the process.
package nfacct

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Messages and attributes of the kernel's subsystem.
const (
	messageNew = iota
	messageGet
	messageGetAndZero
	messageDelete
)

const (
	attrName    = 1
	attrPackets = 2
)

func call(message, flags int, name string) ([][]byte, error) {
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_ACCT<<8|message, flags)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	r.AddData(nl.NewRtAttr(attrName, nl.ZeroTerminated(name)))
	return r.Execute(unix.NETLINK_NETFILTER, 0)
}

// Ensure makes a counter, unless it is there.
func Ensure(name string) error {
	_, err := call(messageNew, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, name)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the kernel's counter %s: %w", name, err)
	}
	return nil
}

// Packets are those that a counter has counted.
func Packets(name string) (uint64, error) {
	answers, err := call(messageGet, unix.NLM_F_ACK, name)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's counter %s: %w", name, err)
	}
	for _, a := range answers {
		if n, ok := packetsOf(a); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("read the kernel's counter %s: the answer has no number of packets", name)
}

func packetsOf(answer []byte) (uint64, bool) {
	if len(answer) < nl.SizeofNfgenmsg {
		return 0, false
	}
	attrs, err := nl.ParseRouteAttr(answer[nl.SizeofNfgenmsg:])
	if err != nil {
		return 0, false
	}
	for _, a := range attrs {
		if a.Attr.Type&^unix.NLA_F_NESTED == attrPackets && len(a.Value) >= 8 {
			return binary.BigEndian.Uint64(a.Value), true
		}
	}
	return 0, false
}

// Remove takes a counter away; one that is not there, or that a kernel cannot
// have, is no error.
func Remove(name string) error {
	_, err := call(messageDelete, unix.NLM_F_ACK, name)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("remove the kernel's counter %s: %w", name, err)
}
