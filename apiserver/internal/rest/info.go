package rest

import (
	"net/http"
	"strings"

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
	if w := q.Get("watch"); info.Verb == "list" && (w == "1" || w == "true" || w == "" && q.Has("watch")) {
		info.Verb = "watch"
		info.FieldSelector, info.LabelSelector = q.Get("fieldSelector"), q.Get("labelSelector")
	}
	if name, ok := strings.CutPrefix(info.FieldSelector, "metadata.name="); ok && info.Name == "" && !strings.ContainsAny(name, ",=!") {
		info.Name = name
	}
}
