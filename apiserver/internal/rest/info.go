package rest

import (
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/fields"

	"xebec.dev/apiserver/internal/request"
)

// namespaceSubresources are those of a Namespace itself; anything else after
// its name is a resource in the namespace.
var namespaceSubresources = map[string]bool{"status": true, "finalize": true}

// ParseInfo reads what a path and method ask for.
func ParseInfo(r *http.Request) request.Info {
	info := request.Info{Path: r.URL.Path, Verb: strings.ToLower(r.Method)}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		info.Prefix, info.Version, parts = parts[0], parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		info.Prefix, info.Group, info.Version, parts = parts[0], parts[1], parts[2], parts[3:]
	default:
		return info
	}
	info.IsResource = true
	info.Verb = verbs[r.Method]
	if (parts[0] == "watch" || parts[0] == "proxy") && len(parts) > 1 {
		info.Verb, parts = parts[0], parts[1:]
	}
	parts = splitNamespace(&info, parts)
	info.Resource = parts[0]
	if len(parts) > 1 {
		info.Name = parts[1]
	}
	if len(parts) > 2 {
		info.Subresource = parts[2]
		info.Parts = parts[3:]
	}
	refineVerb(&info, r)
	return info
}

var verbs = map[string]string{
	http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create",
	http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
}

func splitNamespace(info *request.Info, parts []string) []string {
	if parts[0] != "namespaces" || len(parts) == 1 {
		return parts
	}
	info.Namespace = parts[1]
	if len(parts) > 2 && !namespaceSubresources[parts[2]] {
		return parts[2:]
	}
	return parts
}

func refineVerb(info *request.Info, r *http.Request) {
	if info.Verb == "get" && info.Name == "" {
		info.Verb = "list"
	}
	if info.Verb == "delete" && info.Name == "" {
		info.Verb = "deletecollection"
	}
	if info.Verb != "list" && info.Verb != "get" && info.Verb != "deletecollection" && info.Verb != "watch" || r.URL.RawQuery == "" {
		return
	}
	q := r.URL.Query()
	if info.Verb == "list" || info.Verb == "watch" || info.Verb == "deletecollection" {
		info.FieldSelector, info.LabelSelector = q.Get("fieldSelector"), q.Get("labelSelector")
	}
	if info.Verb == "deletecollection" {
		return
	}
	if w := q["watch"]; info.Verb == "list" && len(w) > 0 && truth(w[0]) {
		info.Verb = "watch"
	}
	if info.Name == "" && strings.Contains(info.FieldSelector, "metadata.name") {
		info.Name = selectedName(info.FieldSelector)
	}
}

// truth is how Kubernetes reads a boolean parameter that is there: Python's
// client says True, others yes.
func truth(value string) bool { return value != "0" && !strings.EqualFold(value, "false") }

// selectedName is the one name that a field selector leaves, "" if it is none
// that could stand in a path. Rules for single names hold for it too.
func selectedName(selector string) string {
	s, err := fields.ParseSelector(selector)
	if err != nil {
		return ""
	}
	name, ok := s.RequiresExactMatch("metadata.name")
	if !ok || len(content.IsPathSegmentName(name)) > 0 {
		return ""
	}
	return name
}
