package fieldmanager

import "slices"

// A new object is compared with an empty one, and who makes it owns all that
// it has more. Most of an object is then a walk through one side, which writes
// FieldsV1 as it goes; nodes are made where both sides have to be looked at.

// emitChanged appends what diff calls changed, and whether there is any; l is
// not absent. Nothing is appended if there is none.
func (w *walker) emitChanged(dst []byte, p *plan, l, r operand) ([]byte, bool) {
	switch {
	case p.form == structure && l.state == present && r.state == present:
		return w.emitStructure(dst, p, l, r)
	case l.state == null && r.state == present && (p.form == keyed || p.form == set || p.form == mapping) && r.v.Len() > 0:
		return w.emitAdded(dst, p, r, false), true
	}
	changed, _ := w.diff(p, l, r)
	if changed.empty() {
		return dst, false
	}
	return changed.appendObject(dst), true
}

func (w *walker) emitStructure(dst []byte, p *plan, l, r operand) ([]byte, bool) {
	mark := len(dst)
	dst = append(dst, '{')
	for i := range p.fields {
		f := &p.fields[i]
		lf, rf := f.of(l), f.of(r)
		if rf.state == absent {
			continue // at most removed
		}
		before := len(dst)
		dst = append(separated(dst), f.key...)
		if lf.state == absent {
			dst = w.emitAdded(dst, f.plan, rf, true)
			continue
		}
		var some bool
		if dst, some = w.emitChanged(dst, f.plan, lf, rf); !some {
			dst = dst[:before]
		}
	}
	if len(dst) == mark+1 {
		return dst[:mark], false
	}
	return append(dst, '}'), true
}

// separated appends a comma, but to the beginning of an object.
func separated(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

// emitAdded appends what added gives. The value itself is named before what is
// within, if self is true.
func (w *walker) emitAdded(dst []byte, p *plan, r operand, self bool) []byte {
	if p.form == converted && !p.leaf() && !isNumberOrName(r.v) {
		n := w.added(p, r)
		return n.appendObject(dst)
	}
	dst = append(dst, '{')
	mark := len(dst)
	if self {
		dst = append(dst, `".":{}`...)
	}
	inside := len(dst)
	switch p.form {
	case structure:
		for i := range p.fields {
			f := &p.fields[i]
			if v := f.of(r); v.state != absent {
				dst = w.emitAdded(append(separated(dst), f.key...), f.plan, v, true)
			}
		}
	case mapping:
		dst = w.emitEntries(dst, p, r)
	case set, keyed:
		dst = w.emitItems(dst, p, r)
	}
	if len(dst) == inside {
		dst = dst[:mark]
	}
	return append(dst, '}')
}

func (w *walker) emitEntries(dst []byte, p *plan, r operand) []byte {
	mark := len(w.names)
	w.names = mapKeys(p, r, w.names)
	keys := w.names[mark:]
	slices.Sort(keys)
	for i := range keys {
		dst = appendEscaped(append(separated(dst), '"', 'f', ':'), w.names[mark+i])
		dst = append(dst, '"', ':')
		if p.elem.leaf() {
			dst = append(dst, '{', '}')
			continue
		}
		dst = w.emitAdded(dst, p.elem, entry(p, r, w.names[mark+i]), true)
	}
	clear(w.names[mark:])
	w.names = w.names[:mark]
	return dst
}

func (w *walker) emitItems(dst []byte, p *plan, r operand) []byte {
	if r.state == present && r.v.Len() == 1 { // nothing to order
		v := r.v.Index(0)
		w.text = w.appendElement(w.text[:0], p, v)
		dst = append(appendKey(separated(dst), w.text), ':')
		return w.emitAdded(dst, p.itemPlan(), load(p.itemPlan(), v), true)
	}
	for _, i := range w.items(p, r) {
		dst = append(appendKey(separated(dst), i.element), ':')
		dst = w.emitAdded(dst, p.itemPlan(), w.item(p, i), true)
	}
	return dst
}
