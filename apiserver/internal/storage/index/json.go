package index

import (
	"encoding/json"
	"errors"
)

// jsonNode is what is wanted of a JSON object: members by name.
type jsonNode struct {
	members map[string]*jsonNode
	leaf    int // -1: none
}

func (n *jsonNode) add(path []string, leaf int) {
	if len(path) == 0 {
		n.leaf = leaf
		return
	}
	if n.members == nil {
		n.members = map[string]*jsonNode{}
	}
	child := n.members[path[0]]
	if child == nil {
		child = &jsonNode{leaf: -1}
		n.members[path[0]] = child
	}
	child.add(path[1:], leaf)
}

var errJSON = errors.New("not a valid JSON object")

// maxDepth bounds nesting, as encoding/json does.
const maxDepth = 10000

func (n *jsonNode) scan(b []byte, s *state) error {
	r := jsonReader{b: b}
	if r.peek() != '{' {
		return errJSON
	}
	if err := r.value(n, s, 0); err != nil {
		return err
	}
	if r.peek() != 0 {
		return errJSON
	}
	return nil
}

type jsonReader struct {
	b []byte
	i int
}

// peek skips space and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
	return 0
}

// value reads any value; n is nil when nothing in it is wanted.
func (r *jsonReader) value(n *jsonNode, s *state, depth int) error {
	if depth > maxDepth {
		return errJSON
	}
	switch r.peek() {
	case '{':
		return r.object(n, s, depth)
	case '[':
		return r.array(depth)
	case '"':
		v, err := r.str()
		if err == nil && n != nil && n.leaf >= 0 {
			s.leaves[n.leaf] = v
		}
		return err
	}
	start := r.i
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return r.literal(n, s, start)
		}
		r.i++
	}
	return r.literal(n, s, start)
}

// literal is a number, true, false or null.
func (r *jsonReader) literal(n *jsonNode, s *state, start int) error {
	v := alias(r.b[start:r.i])
	if v == "" {
		return errJSON
	}
	if n == nil || n.leaf < 0 {
		return nil
	}
	switch v {
	case "null":
		v = ""
	}
	s.leaves[n.leaf] = v
	return nil
}

func (r *jsonReader) object(n *jsonNode, s *state, depth int) error {
	r.i++
	if r.peek() == '}' {
		r.i++
		return nil
	}
	for {
		if r.peek() != '"' {
			return errJSON
		}
		name, err := r.str()
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return errJSON
		}
		r.i++
		if n != nil && n.leaf == leafLabels {
			if r.peek() == '"' {
				v, err := r.str()
				if err != nil {
					return err
				}
				s.setLabel(name, v)
			} else if err := r.value(nil, s, depth+1); err != nil {
				return err
			}
		} else {
			var child *jsonNode
			if n != nil {
				child = n.members[name]
			}
			if err := r.value(child, s, depth+1); err != nil {
				return err
			}
		}
		switch r.peek() {
		case ',':
			r.i++
		case '}':
			r.i++
			return nil
		default:
			return errJSON
		}
	}
}

func (r *jsonReader) array(depth int) error {
	r.i++
	if r.peek() == ']' {
		r.i++
		return nil
	}
	for {
		if err := r.value(nil, nil, depth+1); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.i++
		case ']':
			r.i++
			return nil
		default:
			return errJSON
		}
	}
}

// str reads a string; it aliases the bytes unless there are escapes in it.
func (r *jsonReader) str() (string, error) {
	start := r.i
	r.i++
	escaped := false
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case '\\':
			escaped = true
			r.i += 2
		case '"':
			r.i++
			if !escaped {
				return alias(r.b[start+1 : r.i-1]), nil
			}
			var v string
			if err := json.Unmarshal(r.b[start:r.i], &v); err != nil {
				return "", errJSON
			}
			return v, nil
		default:
			r.i++
		}
	}
	return "", errJSON
}
