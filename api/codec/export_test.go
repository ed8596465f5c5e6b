package codec

import "encoding/binary"

// Quick reports whether raw is transcoded without its struct.
func (t *Transcoder) Quick(raw []byte) bool {
	if t.prepare(); t.plan == nil {
		return false
	}
	_, ok := t.plan.append([]byte{'{'}, raw, 0)
	return ok
}

var IsCompact = isCompact

var Canonical = canonical

// Date is how a Timestamp of whole seconds is written.
func Date(seconds int64) string {
	data := binary.AppendUvarint([]byte{1 << 3}, uint64(seconds))
	out, ok := appendTime(nil, append(data, 2<<3, 0))
	if !ok {
		return ""
	}
	return string(out)
}

// Quote is the piece of src as a JSON string, after prefix.
func Quote(prefix string, src []byte, i, size int) string {
	p := begin([]byte(prefix), src)
	p.room(spare)
	p.quote(i, size)
	return string(p.done())
}
