package openapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/discovery"
)

// subKind is the kind of a subresource's body.
func (r *resourcePaths) subKind(s *discovery.Subresource) schema.GroupVersionKind {
	k := r.gv.WithKind(s.Kind)
	if s.Group != "" || s.Version != "" {
		k.Group, k.Version = s.Group, s.Version
	}
	return k
}

func (r *resourcePaths) subresource(s *discovery.Subresource) []pathItem {
	path := r.collection("") + "/{name}/" + s.Name
	switch {
	case strings.HasSuffix(s.Kind, "Options"):
		return r.connect(path, s)
	case s.Name == "log":
		return []pathItem{{path, []operation{r.log(s)}}}
	}
	var ops []operation
	model := r.models.name(r.subKind(s))
	for _, verb := range s.Verbs {
		if o, ok := r.subOperation(s, verb, model); ok {
			ops = append(ops, o)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return []pathItem{{path, ops}}
}

// subOf starts an operation on a subresource.
func (r *resourcePaths) subOf(s *discovery.Subresource, method, verb, action, description string) operation {
	o := r.operation(method, verb, title(s.Name), action, description)
	o.kind = r.subKind(s)
	return o
}

func (r *resourcePaths) subOperation(s *discovery.Subresource, verb, model string) (operation, bool) {
	specified := s.Name + " of the specified " + r.Kind
	switch verb {
	case "get":
		o := r.subOf(s, "get", "read", "get", "read "+specified)
		o.parameters = merge(r.where(), r.named(), pretty)
		o.responses = answers(ok(r.object(model)))
		return o, true
	case "patch":
		return r.patch(r.subOf(s, "patch", "patch", "patch", "partially update "+specified), model), true
	case "update":
		return r.put(r.subOf(s, "put", "replace", "put", "replace "+specified), model), true
	case "create":
		o := r.subOf(s, "post", "create", "post", "create "+s.Name+" of "+article(r.Kind)+r.Kind)
		named := r.named()
		named[0].description = "name of the " + s.Kind
		o.parameters = merge(r.where(), named, r.models.parameters(meta+"CreateOptions"), pretty)
		o.body = &content{model: model, media: anyMedia, required: true}
		o.responses = answers(ok(r.object(model)), created(r.object(model)), accepted(r.object(model)))
		return o, true
	}
	return operation{}, false
}

func (r *resourcePaths) log(s *discovery.Subresource) operation {
	o := r.subOf(s, "get", "read", "get", "read log of the specified "+r.Kind)
	o.parameters = merge(r.where(), r.named(), r.models.parameters(r.models.name(r.gv.WithKind("PodLogOptions"))), pretty)
	media := append([]string{"text/plain"}, objectMedia...)
	o.responses = answers(ok(&content{media: media}))
	return o
}

// methodsOf are the HTTP methods that connect verbs stand for. A proxy takes
// any.
func methodsOf(s *discovery.Subresource) []string {
	if s.Name == "proxy" {
		return []string{"delete", "get", "head", "options", "patch", "post", "put"}
	}
	var methods []string
	for verb, method := range map[string]string{"create": "post", "get": "get"} {
		if slices.Contains(s.Verbs, verb) {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	return methods
}

// connect lists the paths of a subresource that is a stream: exec, proxy.
func (r *resourcePaths) connect(path string, s *discovery.Subresource) []pathItem {
	kind := r.subKind(s)
	options := r.models.parameters(r.models.name(kind))
	item := func(path, suffix string, extra []parameter) pathItem {
		var ops []operation
		for _, method := range methodsOf(s) {
			named := r.named()
			named[0].description = "name of the " + s.Kind
			ops = append(ops, operation{
				method: method, id: "connect" + r.words + title(method) + r.scope() + r.Kind + title(s.Name) + suffix, tag: r.tag,
				description: "connect " + strings.ToUpper(method) + " requests to " + s.Name + " of " + r.Kind,
				action:      "connect", kind: kind, plain: true,
				parameters: merge(r.where(), named, extra, options),
				responses:  answers(ok(&content{media: anyMedia})),
			})
		}
		return pathItem{path, ops}
	}
	items := []pathItem{item(path, "", nil)}
	if s.Name == "proxy" {
		items = append(items, item(path+"/{path}", "WithPath", []parameter{{name: "path", in: "path", typ: "string", description: "path to the resource"}}))
	}
	return items
}
