// Package dump prints OpenAPI definitions as the compressed lines that
// package openapi reads.
package dump

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"log"
	"reflect"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// prefix is how definitions name each other while they are generated.
const prefix = "#/definitions/"

// Main writes every definition, one JSON object a line, sorted by name.
func Main(w io.Writer, get common.GetOpenAPIDefinitions, add ...func(*runtime.Scheme) error) {
	if err := write(w, get, add); err != nil {
		log.Fatal(err)
	}
}

func write(w io.Writer, get common.GetOpenAPIDefinitions, add []func(*runtime.Scheme) error) error {
	kinds, err := kindsByModel(add)
	if err != nil {
		return err
	}
	defs := get(func(name string) spec.Ref { return spec.MustCreateRef(prefix + model(name)) })
	named := map[string]spec.Schema{}
	var names []string
	for name, d := range defs {
		m := model(name)
		named[m] = d.Schema
		names = append(names, m)
	}
	sort.Strings(names)

	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, name := range names {
		line, err := json.Marshal(Definition{Name: name, Kinds: kinds[name], Schema: simplify(named[name])})
		if err != nil {
			return err
		}
		if _, err := z.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return z.Close()
}

// Definition is one line. The name comes first: readers find a line by it
// without parsing.
type Definition struct {
	Name   string      `json:"name"`
	Kinds  []Kind      `json:"kinds,omitempty"`
	Schema spec.Schema `json:"schema"`
}

// Kind is a group, version and kind that a definition describes.
type Kind struct {
	Group   string `json:"group"`
	Kind    string `json:"kind"`
	Version string `json:"version"`
}

// simplify takes the OpenAPI v3 form of definitions that have one of their
// own (int-or-string, quantities): v2's is derived from it.
func simplify(s spec.Schema) spec.Schema {
	delete(s.Extensions, common.ExtensionV2Schema)
	if len(s.Extensions) == 0 {
		s.Extensions = nil
	}
	return s
}

// named is what Kubernetes' types say about themselves.
type named interface{ OpenAPIModelName() string }

func kindsByModel(add []func(*runtime.Scheme) error) (map[string][]Kind, error) {
	s := runtime.NewScheme()
	for _, a := range add {
		if err := a(s); err != nil {
			return nil, err
		}
	}
	kinds := map[string][]Kind{}
	for gvk, t := range s.AllKnownTypes() {
		if gvk.Version == runtime.APIVersionInternal {
			continue
		}
		name := modelOf(t)
		kinds[name] = append(kinds[name], Kind{gvk.Group, gvk.Kind, gvk.Version})
	}
	for _, list := range kinds {
		sort.Slice(list, func(i, j int) bool { return less(list[i], list[j]) })
	}
	return kinds, nil
}

func less(a, b Kind) bool {
	x, y := schema.GroupVersionKind(gvk(a)).String(), schema.GroupVersionKind(gvk(b)).String()
	if a.Group != b.Group {
		return a.Group < b.Group
	}
	return x < y
}

func gvk(k Kind) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}

func modelOf(t reflect.Type) string {
	if n, ok := reflect.Zero(t).Interface().(named); ok {
		return n.OpenAPIModelName()
	}
	return model(t.PkgPath() + "." + t.Name())
}

// model turns a Go type's path into a definition's name, domain reversed:
// k8s.io/api/core/v1.Pod is io.k8s.api.core.v1.Pod.
func model(name string) string {
	slash := strings.Index(name, "/")
	if slash < 0 {
		return name
	}
	domain := strings.Split(name[:slash], ".")
	for i, j := 0, len(domain)-1; i < j; i, j = i+1, j-1 {
		domain[i], domain[j] = domain[j], domain[i]
	}
	return strings.Join(domain, ".") + "." + strings.ReplaceAll(name[slash+1:], "/", ".")
}
