package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Generated code unmarshals messages within messages by recursion. For a type
// that contains itself (a JSON schema) a short hostile body could use up the
// stack, which ends the process; so the depth of such types is checked first.

// maxMessageDepth is far beyond any honest schema and far below what a stack
// holds.
const maxMessageDepth = 500

// nesting is which fields of a message are messages.
type nesting struct {
	fields map[int]*nesting
}

// nestings by type; nil for types that do not contain themselves.
var nestings sync.Map // reflect.Type → *nesting

// checkDepth refuses bytes for type t that nest too deep.
func checkDepth(t reflect.Type, raw []byte) error {
	v, ok := nestings.Load(t)
	if !ok {
		c := nestingCompiler{done: map[reflect.Type]*nesting{}, open: map[reflect.Type]bool{}}
		n := c.message(t)
		if !c.recursive {
			n = nil
		}
		v, _ = nestings.LoadOrStore(t, n)
	}
	if n := v.(*nesting); n != nil {
		return n.check(raw, 0)
	}
	return nil
}

func (n *nesting) check(raw []byte, depth int) error {
	if depth > maxMessageDepth {
		return fmt.Errorf("exceeded max depth of %d", maxMessageDepth)
	}
	r := reader{raw}
	for r.more() {
		num, wire, err := r.tag()
		if err != nil {
			return err
		}
		child := n.fields[num]
		if child == nil || wire != wireBytes {
			if err := r.skip(wire); err != nil {
				return err
			}
			continue
		}
		b, err := r.bytes()
		if err != nil {
			return err
		}
		if err := child.check(b, depth+1); err != nil {
			return err
		}
	}
	return nil
}

type nestingCompiler struct {
	done      map[reflect.Type]*nesting
	open      map[reflect.Type]bool
	recursive bool
}

func (c *nestingCompiler) message(t reflect.Type) *nesting {
	if n, ok := c.done[t]; ok {
		c.recursive = c.recursive || c.open[t]
		return n
	}
	n := &nesting{fields: map[int]*nesting{}}
	c.done[t], c.open[t] = n, true
	defer delete(c.open, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		parts := strings.Split(sf.Tag.Get("protobuf"), ",")
		if len(parts) < 2 {
			continue
		}
		num, err := strconv.Atoi(parts[1])
		if err != nil {
			continue
		}
		if child := c.field(sf.Type); child != nil {
			n.fields[num] = child
		}
	}
	return n
}

// field is the message in a field of a type, nil if there is none.
func (c *nestingCompiler) field(t reflect.Type) *nesting {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return c.field(t.Elem())
	case reflect.Map:
		if value := c.field(t.Elem()); value != nil {
			return &nesting{fields: map[int]*nesting{2: value}}
		}
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(messager) {
			return c.message(t)
		}
	}
	return nil
}
