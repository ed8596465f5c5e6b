package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Sizes in bytes.
const (
	headerSize = 16 // of a netlink message
	genmsgSize = 4  // of what follows it in netfilter's messages
	attrSize   = 4  // of an attribute's header
	// attrLimit is what one attribute holds: its length has sixteen bits.
	attrLimit = 1<<16 - 1 - 64
	// chunk is how much of a batch lies in one piece.
	chunk = 256 << 10
)

// batch is a transaction of nftables: messages that the kernel carries out
// together or not at all. Large ones lie in several pieces.
type batch struct {
	chunks [][]byte
	b      []byte // the last piece, with the message being written
	family uint8
	first  uint32 // sequence number of the first message
	seq    uint32 // of the last
	flags  int    // where the last message's flags are in b
}

func newBatch(family uint8, seq uint32) *batch {
	b := &batch{family: family, first: seq, seq: seq - 1}
	b.boundary(unix.NFNL_MSG_BATCH_BEGIN)
	return b
}

// boundary begins or ends the transaction.
func (b *batch) boundary(typ uint16) {
	flags := b.flags
	at := b.header(typ, unix.NLM_F_REQUEST)
	b.b = append(b.b, unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES)
	b.close(at)
	if typ == unix.NFNL_MSG_BATCH_END {
		b.flags = flags
	}
}

func (b *batch) header(typ, flags uint16) int {
	if len(b.b) > chunk-attrLimit-headerSize*8 {
		b.chunks = append(b.chunks, b.b)
		b.b = nil
	}
	if b.b == nil && len(b.chunks) > 0 {
		b.b = make([]byte, 0, chunk)
	}
	at := len(b.b)
	b.seq++
	var zero [headerSize]byte
	b.b = append(b.b, zero[:]...)
	binary.NativeEndian.PutUint16(b.b[at+4:], typ)
	binary.NativeEndian.PutUint16(b.b[at+6:], flags)
	binary.NativeEndian.PutUint32(b.b[at+8:], b.seq)
	b.flags = at + 6
	return at
}

// message begins one, to be ended by close.
func (b *batch) message(typ uint16, flags uint16) int {
	at := b.header(unix.NFNL_SUBSYS_NFTABLES<<8|typ, unix.NLM_F_REQUEST|flags)
	b.b = append(b.b, b.family, unix.NFNETLINK_V0, 0, 0)
	return at
}

func (b *batch) close(at int) {
	binary.NativeEndian.PutUint32(b.b[at:], uint32(len(b.b)-at))
}

// finish ends the transaction. Only its last message is acknowledged; the
// pieces are for the kernel, in order.
func (b *batch) finish() [][]byte {
	// The flag is set before the end, which may begin a new piece.
	f := b.b[b.flags:]
	binary.NativeEndian.PutUint16(f, binary.NativeEndian.Uint16(f)|unix.NLM_F_ACK)
	last := b.seq
	b.boundary(unix.NFNL_MSG_BATCH_END)
	b.seq = last
	return append(b.chunks, b.b)
}

// empty tells whether there is nothing between the boundaries.
func (b *batch) empty() bool { return b.seq == b.first }

// nest begins an attribute of attributes, to be ended by closeAttr.
func (b *batch) nest(typ uint16) int { return b.openAttr(typ | unix.NLA_F_NESTED) }

func (b *batch) openAttr(typ uint16) int {
	at := len(b.b)
	b.b = append(b.b, 0, 0, 0, 0)
	binary.NativeEndian.PutUint16(b.b[at+2:], typ)
	return at
}

func (b *batch) closeAttr(at int) {
	binary.NativeEndian.PutUint16(b.b[at:], uint16(len(b.b)-at))
	for len(b.b)%4 != 0 {
		b.b = append(b.b, 0)
	}
}

func (b *batch) bytes(typ uint16, v []byte) {
	at := b.openAttr(typ)
	b.b = append(b.b, v...)
	b.closeAttr(at)
}

func (b *batch) text(typ uint16, v string) {
	at := b.openAttr(typ)
	b.b = append(append(b.b, v...), 0)
	b.closeAttr(at)
}

// number is a 32-bit one, in the order of bytes that nftables wants.
func (b *batch) number(typ uint16, v uint32) {
	at := b.openAttr(typ)
	b.b = binary.BigEndian.AppendUint32(b.b, v)
	b.closeAttr(at)
}

// elements are those of one set in one direction, as the kernel reads them,
// cut where an attribute would be too large.
type elements struct {
	buf  []byte
	cuts []int
	last int // where the piece being filled begins
}

// element of a set or map. Keys and data have the layout of registers: each
// field padded to four bytes.
type element struct {
	key, end string // end is that of an interval
	data     string
	verdict  verdict
	timeout  uint64 // milliseconds, 0 for none
}

// verdict is the data of a verdict map; the zero value is none.
type verdict struct {
	code  verdictCode
	chain string
}

type verdictCode uint8

const (
	noVerdict verdictCode = iota
	accept
	drop
	goTo
)

// Names of the kernel's that the unix package has not.
const (
	attrKeyEnd      = 10
	netfilterDrop   = 0
	netfilterAccept = 1
)

func (e *elements) reset() {
	if cap(e.buf) > manyBytes {
		*e = elements{}
	}
	e.buf, e.cuts, e.last = e.buf[:0], e.cuts[:0], 0
}

func (e *elements) add(x element) {
	at := len(e.buf)
	b := batch{b: e.buf}
	elem := b.nest(unix.NFTA_LIST_ELEM)
	value := func(typ uint16, v string) {
		n := b.nest(typ)
		at := b.openAttr(unix.NFTA_DATA_VALUE)
		b.b = append(b.b, v...)
		b.closeAttr(at)
		b.closeAttr(n)
	}
	value(unix.NFTA_SET_ELEM_KEY, x.key)
	if x.end != "" {
		value(attrKeyEnd, x.end)
	}
	if x.data != "" {
		value(unix.NFTA_SET_ELEM_DATA, x.data)
	}
	if x.verdict.code != noVerdict {
		n := b.nest(unix.NFTA_SET_ELEM_DATA)
		b.verdict(x.verdict)
		b.closeAttr(n)
	}
	if x.timeout > 0 {
		b.bytes(unix.NFTA_SET_ELEM_TIMEOUT, binary.BigEndian.AppendUint64(nil, x.timeout))
	}
	b.closeAttr(elem)
	e.buf = b.b
	if len(e.buf)-e.last > attrLimit-attrSize {
		e.cuts = append(e.cuts, at)
		e.last = at
	}
}

func (b *batch) verdict(v verdict) {
	n := b.nest(unix.NFTA_DATA_VERDICT)
	code := [...]int32{accept: netfilterAccept, drop: netfilterDrop, goTo: unix.NFT_GOTO}[v.code]
	b.number(unix.NFTA_VERDICT_CODE, uint32(code))
	if v.chain != "" {
		b.text(unix.NFTA_VERDICT_CHAIN, v.chain)
	}
	b.closeAttr(n)
}

// elements puts a set's elements into messages.
func (b *batch) elements(typ, flags uint16, set string, e *elements) {
	if len(e.buf) == 0 {
		return
	}
	from := 0
	for _, to := range append(e.cuts, len(e.buf)) {
		if to == from {
			continue
		}
		m := b.message(typ, flags)
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, set)
		n := b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		b.b = append(b.b, e.buf[from:to]...)
		b.closeAttr(n)
		b.close(m)
		from = to
	}
}
