package discovery

import (
	"crypto/sha512"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/encode"
)

// Handler serves discovery. Its documents may be replaced at any time.
type Handler struct {
	// address is where clients find the server: HOST:PORT.
	address string
	current atomic.Pointer[documents]
}

// NewHandler makes a handler that knows no group yet. address is what /api
// tells clients to connect to.
func NewHandler(address string) *Handler {
	h := &Handler{address: address}
	h.Set(nil)
	return h
}

// Set replaces all groups; they must be in order (see Order) and not change.
func (h *Handler) Set(groups []Group) {
	h.current.Store(&documents{address: h.address, groups: groups, encoded: map[variant]*document{}})
}

// Paths lists the paths that are served, for the index at /.
func (h *Handler) Paths() []string {
	paths := []string{"/apis", "/apis/"}
	for _, g := range h.current.Load().groups {
		root := "/apis/" + g.Name
		if g.Name == "" {
			root = "/api"
		}
		paths = append(paths, root)
		for _, v := range g.Versions {
			paths = append(paths, root+"/"+v.Name)
		}
	}
	return paths
}

// Serve answers a GET of a discovery path. found is false when the path is
// none, or of a group or version that there is not. Errors are statuses.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) (found bool, err error) {
	docs := h.current.Load()
	path := strings.TrimSuffix(r.URL.Path, "/")
	make, endpoint := docs.find(path)
	if make == nil {
		return false, nil
	}
	f, err := encode.Negotiate(r.Header.Get("Accept"), endpoint)
	if err != nil {
		return true, err
	}
	f.Pretty = f.Pretty || encode.PrettyFor(r.URL.Query()["pretty"], r.UserAgent())
	if f.Shape == encode.Discovery {
		make = docs.aggregated(path == "/api")
	}
	d, err := docs.encode(variant{path, f}, make)
	if err != nil {
		return true, err
	}
	header := w.Header()
	if f.Shape == encode.Discovery {
		header.Set("Vary", "Accept")
		header.Set("ETag", d.etag)
		if r.Header.Get("If-None-Match") == d.etag {
			w.WriteHeader(http.StatusNotModified)
			return true, nil
		}
	}
	header.Set("Content-Type", f.ContentType())
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(d.body)
	return true, err
}

// documents are the documents of one list of groups, encoded when first
// asked for.
type documents struct {
	address string
	groups  []Group

	// mu guards encoded.
	mu      sync.Mutex
	encoded map[variant]*document
}

// variant is a document in one format.
type variant struct {
	path   string
	format encode.Format
}

type document struct {
	body []byte
	etag string
}

func (d *documents) encode(v variant, make func() runtime.Object) (*document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if doc, ok := d.encoded[v]; ok {
		return doc, nil
	}
	f := v.format
	f.Shape = encode.Whole
	body, err := encode.AppendAny(nil, f, schema.GroupVersionKind{}, make())
	if err != nil {
		return nil, err
	}
	doc := &document{body: body, etag: fmt.Sprintf("%q", fmt.Sprintf("%X", sha512.Sum512(body)))}
	d.encoded[v] = doc
	return doc, nil
}

// find is the document at a path, nil if there is none.
func (d *documents) find(path string) (func() runtime.Object, encode.Endpoint) {
	switch path {
	case "/api":
		return d.versions, encode.Endpoint{Discovery: true}
	case "/apis":
		return d.list, encode.Endpoint{Discovery: true, Unrouted: true}
	}
	if version, ok := strings.CutPrefix(path, "/api/"); ok {
		return d.resources("", version), encode.Endpoint{}
	}
	rest, ok := strings.CutPrefix(path, "/apis/")
	if !ok {
		return nil, encode.Endpoint{}
	}
	if group, version, ok := strings.Cut(rest, "/"); ok {
		return d.resources(group, version), encode.Endpoint{}
	}
	return d.group(rest), encode.Endpoint{}
}

func (d *documents) versions() runtime.Object {
	out := &metav1.APIVersions{
		TypeMeta:                   metav1.TypeMeta{Kind: "APIVersions"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: d.address}},
	}
	for _, g := range d.groups {
		if g.Name == "" {
			for _, v := range g.Versions {
				out.Versions = append(out.Versions, v.Name)
			}
		}
	}
	return out
}

func (d *documents) list() runtime.Object {
	out := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	for _, g := range d.groups {
		if g.Name != "" {
			out.Groups = append(out.Groups, legacyGroup(g))
		}
	}
	return out
}

func (d *documents) group(name string) func() runtime.Object {
	for _, g := range d.groups {
		if g.Name == name && name != "" {
			return func() runtime.Object {
				out := legacyGroup(g)
				out.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
				return &out
			}
		}
	}
	return nil
}

func (d *documents) resources(group, version string) func() runtime.Object {
	for _, g := range d.groups {
		for _, v := range g.Versions {
			if g.Name == group && v.Name == version {
				return func() runtime.Object { return resourceList(group, v) }
			}
		}
	}
	return nil
}

// aggregated is the aggregated document of the core group, or of all others.
func (d *documents) aggregated(core bool) func() runtime.Object {
	return func() runtime.Object {
		out := &apidiscovery.APIGroupDiscoveryList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
			Items:    []apidiscovery.APIGroupDiscovery{},
		}
		for _, g := range d.groups {
			if core == (g.Name == "") {
				out.Items = append(out.Items, aggregated(g))
			}
		}
		return out
	}
}
