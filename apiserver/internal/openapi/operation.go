// Package openapi describes the API to clients: OpenAPI v2 at /openapi/v2 and
// one OpenAPI v3 document per group version below /openapi/v3.
//
// Documents are built when they are first asked for, from the groups that
// discovery lists and the schemas of xebec.dev/api/openapi, and kept
// compressed.
package openapi

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Definitions that operations speak of.
const (
	meta             = "io.k8s.apimachinery.pkg.apis.meta.v1."
	statusModel      = meta + "Status"
	patchModel       = meta + "Patch"
	watchEventModel  = meta + "WatchEvent"
	deleteOptions    = meta + "DeleteOptions"
	versionInfoModel = "io.k8s.apimachinery.pkg.version.Info"
)

// pathItem is a path and what can be done there.
type pathItem struct {
	path       string
	operations []operation
}

// operation is one method of a path.
type operation struct {
	// method is in lower case.
	method      string
	id          string
	description string
	tag         string
	// action and kind are Kubernetes' extensions; action may be empty.
	action     string
	kind       schema.GroupVersionKind
	parameters []parameter
	body       *content
	responses  []response
	// plain is true for operations that stream bytes of any kind.
	plain bool
}

// parameter is a parameter in the path or the query.
type parameter struct {
	name, in, description, typ string
}

func (p parameter) required() bool { return p.in == "path" }

// content is a body by media types. An empty model is a plain string.
type content struct {
	model    string
	media    []string
	required bool
}

type response struct {
	code        string
	description string
	content     *content
}

// Media types of answers.
var (
	objectMedia = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	listMedia   = append(slices.Clone(objectMedia), "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
	anyMedia    = []string{"*/*"}
	patchMedia  = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
	}
)

func object(model string) *content { return &content{model: model, media: objectMedia} }

func ok(c *content) response           { return response{"200", "OK", c} }
func created(c *content) response      { return response{"201", "Created", c} }
func accepted(c *content) response     { return response{"202", "Accepted", c} }
func unauthorized() response           { return response{code: "401", description: "Unauthorized"} }
func answers(r ...response) []response { return append(r, unauthorized()) }

// shared are the parameters that all operations of a path have, which
// documents put on the path; the operations keep the others.
func (p *pathItem) shared() []parameter {
	if len(p.operations) == 0 {
		return nil
	}
	var out []parameter
	for _, candidate := range p.operations[0].parameters {
		if !slices.ContainsFunc(p.operations, func(o operation) bool { return !slices.Contains(o.parameters, candidate) }) {
			out = append(out, candidate)
		}
	}
	return sorted(out)
}

// own are an operation's parameters that the path does not have.
func (o *operation) own(shared []parameter) []parameter {
	return sorted(slices.DeleteFunc(slices.Clone(o.parameters), func(p parameter) bool { return slices.Contains(shared, p) }))
}

func sorted(list []parameter) []parameter {
	slices.SortFunc(list, func(a, b parameter) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.in, b.in)) })
	return list
}

// groupWords is a group in operation ids: "RbacAuthorization", "Core".
func groupWords(group string) string {
	if group == "" {
		return "Core"
	}
	var b strings.Builder
	for _, word := range strings.Split(strings.TrimSuffix(group, ".k8s.io"), ".") {
		b.WriteString(title(word))
	}
	return b.String()
}

// groupTag is a group in tags: "rbacAuthorization", "core".
func groupTag(group string) string {
	w := groupWords(group)
	return strings.ToLower(w[:1]) + w[1:]
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// article goes before a noun: "a ", "an ", or nothing before a plural.
func article(noun string) string {
	switch {
	case strings.HasSuffix(noun, "s") && !strings.HasSuffix(noun, "ss"):
		return ""
	case strings.ContainsRune("AEIOUaeiou", rune(noun[0])):
		return "an "
	}
	return "a "
}
