package codec

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
