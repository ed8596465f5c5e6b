package fieldmanager

import (
	"errors"
	"strconv"
)

// node is a set of field paths: a step of them, and those that go on from it.
// Children are in order and non-empty.
type node struct {
	// element is the step, as stored: "f:spec", `k:{"name":"c"}`.
	element string
	// member is true when the path that ends here is in the set.
	member   bool
	children []node
}

func (n *node) empty() bool { return !n.member && len(n.children) == 0 }

// arena holds the children of nodes. Nodes die with their arena's reset.
type arena struct {
	slab []node
	used int
	// open holds the children of the objects that a parser is in.
	open []node
}

const firstSlab = 128

// keep copies nodes to where they stay until the reset.
func (a *arena) keep(nodes []node) []node {
	if len(nodes) == 0 {
		return nil
	}
	if a.used+len(nodes) > len(a.slab) {
		// What is in the old slab stays alive through its nodes.
		a.slab = make([]node, max(firstSlab, 2*len(a.slab), len(nodes)))
		a.used = 0
	}
	out := a.slab[a.used : a.used+len(nodes) : a.used+len(nodes)]
	a.used += len(nodes)
	copy(out, nodes)
	return out
}

// maxSlab is the largest slab worth keeping, about 256 KiB.
const maxSlab = 4096

// reset makes room again, and forgets the strings that nodes held.
func (a *arena) reset() {
	if len(a.slab) > maxSlab {
		a.slab = nil
	}
	clear(a.slab[:min(a.used, len(a.slab))])
	a.used = 0
	clear(a.open[:cap(a.open)])
	a.open = a.open[:0]
}

// appendFields appends the set as FieldsV1.
func (n *node) appendFields(dst []byte) []byte {
	return append(n.appendChildren(append(dst, '{'), false), '}')
}

func (n *node) appendChildren(dst []byte, self bool) []byte {
	first := true
	if self {
		dst = append(dst, `".":{}`...)
		first = false
	}
	for i := range n.children {
		c := &n.children[i]
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = c.appendObject(append(appendKey(dst, c.element), ':'))
	}
	return dst
}

// appendObject appends what is below a node that is not the root.
func (n *node) appendObject(dst []byte) []byte {
	dst = append(dst, '{')
	if len(n.children) > 0 {
		dst = n.appendChildren(dst, n.member)
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// appendKey appends an element as a JSON string, escaping no more than must be.
func appendKey[T string | []byte](dst []byte, s T) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	plain := 0
	for plain < len(s) && s[plain] >= ' ' && s[plain] != '"' && s[plain] != '\\' {
		plain++
	}
	dst = append(dst, s[:plain]...)
	for i := plain; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

var errNotCanonical = errors.New("fields are not as we would write them")

// parseFields reads FieldsV1 that was written by appendFields. It refuses
// everything else.
func (a *arena) parseFields(raw []byte) (node, error) {
	p := parser{arena: a, data: string(raw)}
	a.open = a.open[:0]
	var root node
	if err := p.object(&root, true); err != nil || p.pos != len(raw) {
		return node{}, errNotCanonical
	}
	return root, nil
}

type parser struct {
	*arena
	data string
	pos  int
}

func (p *parser) take(c byte) bool {
	if p.pos < len(p.data) && p.data[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) object(n *node, root bool) error {
	if !p.take('{') {
		return errNotCanonical
	}
	n.member = !root
	if p.take('}') {
		return nil
	}
	n.member = false
	base := len(p.open)
	for i := 0; i == 0 || p.take(','); i++ {
		element, err := p.key()
		if err != nil || !p.take(':') {
			return errNotCanonical
		}
		if element == "." {
			if i > 0 || root || !p.take('{') || !p.take('}') {
				return errNotCanonical
			}
			n.member = true
			continue
		}
		if len(element) < 2 || element[1] != ':' || rank(element[0]) < 0 || !canonical(element) {
			return errNotCanonical
		}
		if len(p.open) > base && compareElements(p.open[len(p.open)-1].element, element) >= 0 {
			return errNotCanonical
		}
		child := node{element: element}
		if err := p.object(&child, false); err != nil {
			return err
		}
		p.open = append(p.open, child)
	}
	if !p.take('}') || len(p.open) == base {
		return errNotCanonical
	}
	n.children = p.keep(p.open[base:])
	p.open = p.open[:base]
	return nil
}

// key reads a JSON string that appendKey wrote.
func (p *parser) key() (string, error) {
	if !p.take('"') {
		return "", errNotCanonical
	}
	start := p.pos
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return p.data[start : p.pos-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", errNotCanonical
		}
		p.pos++
	}
	return "", errNotCanonical
}

func (p *parser) escaped(start int) (string, error) {
	end := p.pos
	for end < len(p.data) && p.data[end] != '"' {
		if p.data[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.data) {
		return "", errNotCanonical
	}
	s, err := unquote(p.data[start:end])
	if err != nil {
		return "", err
	}
	if string(appendKey(nil, s)) != p.data[start-1:end+1] {
		return "", errNotCanonical
	}
	p.pos = end + 1
	return s, nil
}

func unquote(s string) (string, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return "", errNotCanonical
		}
		switch s[i] {
		case '"', '\\':
			out = append(out, s[i])
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			if i+4 >= len(s) {
				return "", errNotCanonical
			}
			c, err := strconv.ParseUint(s[i+1:i+5], 16, 8)
			if err != nil {
				return "", errNotCanonical
			}
			out = append(out, byte(c))
			i += 4
		default:
			return "", errNotCanonical
		}
	}
	return string(out), nil
}

// subtract is the paths of n that are not in s.
func (a *arena) subtract(n, s *node) node {
	out := node{element: n.element, member: n.member && !s.member}
	if len(s.children) == 0 {
		out.children = n.children
		return out
	}
	var kept []node
	j := 0
	for i := range n.children {
		c := &n.children[i]
		order := 1
		for j < len(s.children) {
			if order = compareElements(s.children[j].element, c.element); order >= 0 {
				break
			}
			j++
		}
		if j == len(s.children) || order != 0 {
			kept = append(kept, *c)
			continue
		}
		if rest := a.subtract(c, &s.children[j]); !rest.empty() {
			kept = append(kept, rest)
		}
	}
	out.children = kept
	return out
}

// union is the paths of either.
func (a *arena) union(n, s *node) node {
	out := node{element: n.element, member: n.member || s.member}
	switch {
	case len(n.children) == 0:
		out.children = s.children
		return out
	case len(s.children) == 0:
		out.children = n.children
		return out
	}
	all := make([]node, 0, max(len(n.children), len(s.children)))
	i, j := 0, 0
	for i < len(n.children) && j < len(s.children) {
		x, y := &n.children[i], &s.children[j]
		switch order := compareElements(x.element, y.element); {
		case order < 0:
			all = append(all, *x)
			i++
		case order > 0:
			all = append(all, *y)
			j++
		default:
			all = append(all, a.union(x, y))
			i, j = i+1, j+1
		}
	}
	all = append(append(all, n.children[i:]...), s.children[j:]...)
	out.children = all
	return out
}

// meets reports whether the sets share a path.
func (n *node) meets(s *node) bool {
	if n.member && s.member {
		return true
	}
	j := 0
	for i := range n.children {
		for j < len(s.children) {
			order := compareElements(s.children[j].element, n.children[i].element)
			if order == 0 && n.children[i].meets(&s.children[j]) {
				return true
			}
			if order >= 0 {
				break
			}
			j++
		}
	}
	return false
}
