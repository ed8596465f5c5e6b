// Package openapi has the OpenAPI schema of every API type: descriptions,
// types, defaults, and how lists and maps merge. The data is generated from
// the types' Go source (see gen) and embedded compressed; it is unpacked when
// asked for and is garbage again once its users have let go of it.
package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"weak"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:generate sh -c "cd gen && GOWORK=off go run . ../definitions.jsonl.gz"

//go:embed definitions.jsonl.gz
var packed []byte

// refPrefix is how a schema names another.
const refPrefix = "#/definitions/"

// Definitions is the unpacked data. It is immutable.
type Definitions struct {
	lines map[string]line
	names []string
	kinds map[schema.GroupVersionKind]string
}

// line is one definition, as slices of the unpacked data.
type line struct{ kinds, schema []byte }

var cache struct {
	sync.Mutex
	loaded weak.Pointer[Definitions]
}

// Load unpacks the definitions (about 2 MB, 10 ms), or returns those that
// another caller still holds. Hold on to the result while working with many
// definitions, and no longer.
func Load() *Definitions {
	cache.Lock()
	defer cache.Unlock()
	if d := cache.loaded.Value(); d != nil {
		return d
	}
	d, err := unpack(packed)
	if err != nil {
		panic("openapi: the embedded definitions are broken: " + err.Error())
	}
	cache.loaded = weak.Make(d)
	return d
}

// Digest identifies the data.
var Digest = sync.OnceValue(func() string {
	return fmt.Sprintf("%x", sha256.Sum256(packed))
})

func unpack(packed []byte) (*Definitions, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	d := &Definitions{lines: map[string]line{}, kinds: map[schema.GroupVersionKind]string{}}
	for row := range bytes.Lines(data) {
		if err := d.add(bytes.TrimSuffix(row, []byte("\n"))); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// add indexes a row {"name":"…","kinds":[…],"schema":{…}}, kinds optional,
// without parsing the schema.
func (d *Definitions) add(row []byte) error {
	name, rest, ok := cut(row, `{"name":"`, `"`)
	if !ok {
		return fmt.Errorf("row without a name: %.80s", row)
	}
	var l line
	if kinds, after, ok := cut(rest, `,"kinds":`, `,"schema":`); ok {
		l.kinds, l.schema = kinds, bytes.TrimSuffix(after, []byte("}"))
	} else if _, after, ok := cut(rest, `,"schema":`, ""); ok {
		l.schema = bytes.TrimSuffix(after, []byte("}"))
	} else {
		return fmt.Errorf("definition %s has no schema", name)
	}
	key := string(name)
	d.lines[key] = l
	d.names = append(d.names, key)
	for _, gvk := range l.groupVersionKinds() {
		d.kinds[gvk] = key
	}
	return nil
}

// cut returns what is between two marks at the start of s, and the rest.
func cut(s []byte, open, end string) (between, rest []byte, ok bool) {
	s, ok = bytes.CutPrefix(s, []byte(open))
	if !ok {
		return nil, nil, false
	}
	return bytes.Cut(s, []byte(end))
}

func (l line) groupVersionKinds() []schema.GroupVersionKind {
	var kinds []struct{ Group, Version, Kind string }
	if l.kinds == nil || json.Unmarshal(l.kinds, &kinds) != nil {
		return nil
	}
	out := make([]schema.GroupVersionKind, len(kinds))
	for i, k := range kinds {
		out[i] = schema.GroupVersionKind(k)
	}
	return out
}

// Names lists all definitions, sorted.
func (d *Definitions) Names() []string { return slices.Clone(d.names) }

// Kind is the definition's name of a kind: io.k8s.api.core.v1.Pod.
func (d *Definitions) Kind(gvk schema.GroupVersionKind) (string, bool) {
	name, ok := d.kinds[gvk]
	return name, ok
}

// KindsOf are the kinds a definition describes, sorted; most have none or one.
func (d *Definitions) KindsOf(name string) []schema.GroupVersionKind {
	return d.lines[name].groupVersionKinds()
}

// Schema is a definition's OpenAPI v3 schema as JSON, or nil. References read
// "#/definitions/NAME". The bytes are shared: do not change them.
func (d *Definitions) Schema(name string) []byte { return d.lines[name].schema }

// References are the definitions that one names, sorted.
func (d *Definitions) References(name string) []string {
	var refs []string
	const mark = `"$ref":"` + refPrefix
	for s := d.lines[name].schema; ; {
		i := bytes.Index(s, []byte(mark))
		if i < 0 {
			slices.Sort(refs)
			return slices.Compact(refs)
		}
		s = s[i+len(mark):]
		refs = append(refs, string(s[:bytes.IndexByte(s, '"')]))
	}
}

// Closure is the given definitions and all that they name, sorted.
func (d *Definitions) Closure(names ...string) []string {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, ref := range d.References(name) {
			visit(ref)
		}
	}
	for _, name := range names {
		visit(name)
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
