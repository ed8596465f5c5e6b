// Package index reads what selectors need to know of an object from its
// stored bytes: names, labels and selectable fields. Nothing is decoded into
// a struct, and the strings alias the bytes.
package index

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Extractor does it for one resource. It is immutable.
type Extractor struct {
	json    bool
	fields  []field
	leaves  int
	message *message  // of protobuf
	object  *jsonNode // of JSON
}

// field is a selectable field: the leaves to try, and what it is when all are
// empty.
type field struct {
	leaves  []int
	ifEmpty string
}

// New compiles the extractor of a resource. It fails when a field's path
// leads nowhere in the storage type.
func New(r *scheme.Resource) (*Extractor, error) {
	e := &Extractor{json: IsJSON(r)}
	paths := map[string]int{}
	leaf := func(path string) int {
		if i, ok := paths[path]; ok {
			return i
		}
		i := len(paths)
		paths[path] = i
		return i
	}
	for i, name := range [...]string{leafName: "metadata.name", leafNamespace: "metadata.namespace", leafUID: "metadata.uid"} {
		if leaf(name) != i {
			panic("index: the metadata leaves are numbered wrongly")
		}
	}
	for _, f := range r.Fields {
		alternatives := f.Path
		if len(alternatives) == 0 {
			alternatives = []string{f.Label}
		}
		c := field{ifEmpty: f.IfEmpty}
		for _, p := range alternatives {
			c.leaves = append(c.leaves, leaf(strings.TrimPrefix(p, ".")))
		}
		e.fields = append(e.fields, c)
	}
	e.leaves = len(paths)
	if e.json {
		e.object = &jsonNode{leaf: -1}
		e.object.add(strings.Split("metadata.labels", "."), leafLabels)
		for p, i := range paths {
			e.object.add(strings.Split(p, "."), i)
		}
		return e, nil
	}
	t := reflect.TypeOf(r.New()).Elem()
	e.message = &message{}
	if err := e.message.add(t, []string{"metadata", "labels"}, leafLabels); err != nil {
		return nil, err
	}
	for p, i := range paths {
		if err := e.message.add(t, strings.Split(p, "."), i); err != nil {
			return nil, fmt.Errorf("%s: field %s: %w", r.Plural, p, err)
		}
	}
	return e, nil
}

// IsJSON reports whether the resource's objects are JSON rather than protobuf.
func IsJSON(r *scheme.Resource) bool {
	if r.New == nil {
		return true
	}
	_, ok := r.New().(scheme.Message)
	return !ok
}

// Leaves that every resource has.
const (
	leafName = iota
	leafNamespace
	leafUID
	leafLabels = -2
)

// state collects one object's values.
type state struct {
	leaves []string
	labels []string
}

// Object makes the index entry of an object's bytes, which it keeps and
// aliases.
func (e *Extractor) Object(raw []byte, revision int64) (*storage.Object, error) {
	var leaves [24]string
	var labels [16]string
	s := state{leaves: leaves[:], labels: labels[:0]}
	if e.leaves > len(leaves) {
		s.leaves = make([]string, e.leaves)
	}
	var err error
	if e.json {
		err = e.object.scan(raw, &s)
	} else {
		err = e.message.scan(raw, &s)
	}
	if err != nil {
		return nil, err
	}
	sortPairs(s.labels)
	o := &storage.Object{
		Namespace: s.leaves[leafNamespace],
		Name:      s.leaves[leafName],
		UID:       s.leaves[leafUID],
		Revision:  revision,
		Raw:       raw,
	}
	n := len(s.labels)
	values := make([]string, n+len(e.fields))
	copy(values, s.labels)
	for i, f := range e.fields {
		v := f.ifEmpty
		for _, l := range f.leaves {
			if s.leaves[l] != "" {
				v = s.leaves[l]
				break
			}
		}
		values[n+i] = v
	}
	o.Labels = values[:n:n]
	o.Fields = values[n:]
	return o, nil
}

// sortPairs orders labels by key. Kubernetes' marshallers write maps in order,
// so there is seldom anything to do.
func sortPairs(l []string) {
	for i := 2; i+1 < len(l); i += 2 {
		for j := i; j > 0 && l[j] < l[j-2]; j -= 2 {
			l[j], l[j-2] = l[j-2], l[j]
			l[j+1], l[j-1] = l[j-1], l[j+1]
		}
	}
}

// alias is b as a string without a copy; b is never written again.
func alias(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

var small = func() (s [100]string) {
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return
}()

func decimal(v int64) string {
	if v > 0 && v < int64(len(small)) {
		return small[v]
	}
	return strconv.FormatInt(v, 10)
}
