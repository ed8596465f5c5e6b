package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	definitions "xebec.dev/api/openapi"
	"xebec.dev/apiserver/internal/discovery"
)

// document is one OpenAPI v3 document, or the v2 one.
type document struct {
	// etag is known before the document is built: it is a digest of what it
	// is built from.
	etag string
	// build makes the JSON.
	build func() ([]byte, error)
	// protobuf makes the protobuf form of the JSON.
	protobuf func(doc []byte) ([]byte, error)

	// mu guards the forms, which are kept gzipped.
	mu    sync.Mutex
	forms [2][]byte
}

// form is how a document is encoded.
type form int

const (
	formJSON form = iota
	formProtobuf
)

// building lets one document be built at a time: each takes some tens of
// megabytes while it lasts.
var building sync.Mutex

// zipped is a form of the document, gzipped.
func (d *document) zipped(f form) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.forms[f] != nil {
		return d.forms[f], nil
	}
	building.Lock()
	defer building.Unlock()
	var data []byte
	var err error
	if d.forms[formJSON] != nil {
		data, err = unzip(d.forms[formJSON])
	} else {
		data, err = d.build()
	}
	if err == nil && f == formProtobuf {
		data, err = d.protobuf(data)
	}
	if err != nil {
		return nil, err
	}
	d.forms[f], err = zip(data)
	return d.forms[f], err
}

func zip(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}

func unzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// v3Of makes the document of paths that list gives.
func v3Of(release string, identity any, custom []CustomKind, list func(m *models) []pathItem) *document {
	return &document{
		etag: etag("v3", release, identity, custom),
		build: func() ([]byte, error) {
			m, err := newModels(custom)
			if err != nil {
				return nil, err
			}
			return json.Marshal(v3Document(m, release, list(m)))
		},
		protobuf: v3Protobuf,
	}
}

// etag is a digest of what makes a document.
func etag(parts ...any) string {
	b, err := json.Marshal(append(parts, definitions.Digest()))
	if err != nil {
		panic("openapi: " + err.Error()) // plain data
	}
	return fmt.Sprintf("%X", sha512.Sum512(b))
}

// documents are the documents of a list of groups, by path below /openapi/v3.
func documents(release string, groups []discovery.Group, custom []CustomKind) (v3 map[string]*document, v2 *document) {
	v3 = map[string]*document{}
	for path, item := range general() {
		v3[path] = v3Of(release, path, nil, func(*models) []pathItem { return []pathItem{item} })
	}
	for _, g := range groups {
		if g.Name != "" {
			v3["apis/"+g.Name] = v3Of(release, g.Name, nil, func(*models) []pathItem { return []pathItem{groupPath(g.Name)} })
		}
		for _, v := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: v.Name}
			path := "apis/" + gv.String()
			if g.Name == "" {
				path = "api/" + v.Name
			}
			own := of(gv, custom)
			v3[path] = v3Of(release, []any{gv, v.Resources}, own, func(m *models) []pathItem { return newVersion(m, gv).paths(v.Resources) })
		}
	}
	return v3, v2Of(release, groups, custom)
}

// of are the custom kinds of one version.
func of(gv schema.GroupVersion, custom []CustomKind) []CustomKind {
	var out []CustomKind
	for _, k := range custom {
		if k.Kind.GroupVersion() == gv {
			out = append(out, k)
		}
	}
	return out
}

func v2Of(release string, groups []discovery.Group, custom []CustomKind) *document {
	list := func(m *models) []pathItem {
		var items []pathItem
		for _, item := range general() {
			items = append(items, item)
		}
		for _, g := range groups {
			if g.Name != "" {
				items = append(items, groupPath(g.Name))
			}
			for _, v := range g.Versions {
				items = append(items, newVersion(m, schema.GroupVersion{Group: g.Name, Version: v.Name}).paths(v.Resources)...)
			}
		}
		return items
	}
	return &document{
		etag: etag("v2", release, groups, custom),
		build: func() ([]byte, error) {
			m, err := newModels(custom)
			if err != nil {
				return nil, err
			}
			return json.Marshal(v2Document(m, release, list(m)))
		},
		protobuf: func(doc []byte) ([]byte, error) {
			var data map[string]any
			if err := json.Unmarshal(doc, &data); err != nil {
				return nil, err
			}
			return v2Protobuf(data)
		},
	}
}

// general are the paths that are not of resources, by their document.
func general() map[string]pathItem {
	get := func(path, id, description, tag string, c *content) pathItem {
		return pathItem{path, []operation{{method: "get", id: id, description: description, tag: tag, responses: answers(ok(c))}}}
	}
	return map[string]pathItem{
		"api":     get("/api/", "getCoreAPIVersions", "get available API versions", "core", object(meta+"APIVersions")),
		"apis":    get("/apis/", "getAPIVersions", "get available API versions", "apis", object(meta+"APIGroupList")),
		"version": get("/version/", "getCodeVersion", "get the version information for this server", "version", &content{model: versionInfoModel, media: []string{"application/json"}}),
		".well-known/openid-configuration": get("/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration",
			"get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'", "WellKnown", &content{media: []string{"application/json"}}),
		"openid/v1/jwks": get("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset",
			"get service account issuer OpenID JSON Web Key Set (contains public token verification keys)", "openid", &content{media: []string{"application/jwk-set+json"}}),
	}
}

func groupPath(group string) pathItem {
	return pathItem{"/apis/" + group + "/", []operation{{
		method: "get", id: "get" + groupWords(group) + "APIGroup", description: "get information of a group", tag: groupTag(group),
		responses: answers(ok(object(meta + "APIGroup"))),
	}}}
}
