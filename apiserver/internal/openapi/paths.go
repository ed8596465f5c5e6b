package openapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/discovery"
)

// version lists the paths of one version of a group.
type version struct {
	models *models
	gv     schema.GroupVersion
	// root is "/api/v1" or "/apis/GROUP/VERSION".
	root string
	// words and tag name the version: "AppsV1", "apps_v1".
	words, tag string
}

func newVersion(m *models, gv schema.GroupVersion) *version {
	v := &version{models: m, gv: gv, root: "/apis/" + gv.String(), words: groupWords(gv.Group) + title(gv.Version), tag: groupTag(gv.Group) + "_" + gv.Version}
	if gv.Group == "" {
		v.root = "/api/" + gv.Version
	}
	return v
}

func (v *version) paths(resources []discovery.Resource) []pathItem {
	items := []pathItem{{path: v.root + "/", operations: []operation{{
		method: "get", id: "get" + v.words + "APIResources", description: "get available resources", tag: v.tag,
		responses: answers(ok(object(meta + "APIResourceList"))),
	}}}}
	for i := range resources {
		r := &resourcePaths{version: v, Resource: &resources[i]}
		items = append(items, r.paths()...)
	}
	slices.SortFunc(items, func(a, b pathItem) int { return strings.Compare(a.path, b.path) })
	return items
}

// resourcePaths lists the paths of one resource.
type resourcePaths struct {
	*version
	*discovery.Resource
}

func (r *resourcePaths) kind() schema.GroupVersionKind {
	k := r.gv.WithKind(r.Kind)
	if r.Group != "" || r.Resource.Version != "" {
		k.Group, k.Version = r.Group, r.Resource.Version
	}
	return k
}

// custom resources have no protobuf and no strategic merge patch.
func (r *resourcePaths) custom() bool { return r.models.isCustom(r.models.name(r.kind())) }

func (r *resourcePaths) object(model string) *content {
	return &content{model: model, media: r.media(objectMedia)}
}

func (r *resourcePaths) media(list []string) []string {
	if !r.custom() {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(m string) bool {
		return strings.Contains(m, "protobuf") || strings.Contains(m, "strategic") || strings.Contains(m, ";stream")
	})
}

func (r *resourcePaths) can(verb string) bool { return slices.Contains(r.Verbs, verb) }

// scope stands in operation ids of namespaced resources.
func (r *resourcePaths) scope() string {
	if r.Namespaced {
		return "Namespaced"
	}
	return ""
}

// collection is the path of the collection, below a prefix: "" or "/watch".
func (r *resourcePaths) collection(prefix string) string {
	p := r.root + prefix
	if r.Namespaced {
		p += "/namespaces/{namespace}"
	}
	return p + "/" + r.Plural
}

func (r *resourcePaths) paths() []pathItem {
	var items []pathItem
	add := func(path string, ops ...operation) {
		if len(ops) > 0 {
			items = append(items, pathItem{path, ops})
		}
	}
	add(r.collection(""), r.collectionOperations()...)
	add(r.collection("")+"/{name}", r.itemOperations()...)
	if r.Namespaced && r.can("list") {
		add(r.root+"/"+r.Plural, r.list("ForAllNamespaces", ""))
	}
	if r.can("watch") {
		add(r.collection("/watch"), r.watchList(r.scope(), ""))
		add(r.collection("/watch")+"/{name}", r.watch())
		if r.Namespaced {
			add(r.root+"/watch/"+r.Plural, r.watchList("", "ForAllNamespaces"))
		}
	}
	for i := range r.Subresources {
		items = append(items, r.subresource(&r.Subresources[i])...)
	}
	return items
}

// operation starts one on the resource; verb, before and after make its id.
func (r *resourcePaths) operation(method, verb, after, action, description string) operation {
	return operation{
		method: method, id: verb + r.words + r.scope() + r.Kind + after, description: description, tag: r.tag,
		action: action, kind: r.kind(),
	}
}

func (r *resourcePaths) collectionOperations() []operation {
	var ops []operation
	model := r.models.name(r.kind())
	if r.can("deletecollection") {
		o := r.operation("delete", "delete", "", "deletecollection", "delete collection of "+r.Kind)
		o.id = "delete" + r.words + "Collection" + r.scope() + r.Kind
		o.parameters = merge(r.where(), r.models.parameters(deleteOptions), r.models.parameters(meta+"ListOptions", "watch", "allowWatchBookmarks"), pretty)
		o.body = &content{model: deleteOptions, media: anyMedia}
		o.responses = answers(ok(r.object(statusModel)))
		ops = append(ops, o)
	}
	if r.can("list") {
		ops = append(ops, r.list("", r.scope()))
	}
	if r.can("create") {
		o := r.operation("post", "create", "", "post", "create "+article(r.Kind)+r.Kind)
		o.parameters = merge(r.where(), r.models.parameters(meta+"CreateOptions"), pretty)
		o.body = &content{model: model, media: anyMedia, required: true}
		o.responses = answers(ok(r.object(model)), created(r.object(model)), accepted(r.object(model)))
		ops = append(ops, o)
	}
	return ops
}

func (r *resourcePaths) list(after, scope string) operation {
	o := operation{
		method: "get", id: "list" + r.words + scope + r.Kind + after, description: "list or watch objects of kind " + r.Kind, tag: r.tag,
		action: "list", kind: r.kind(),
	}
	o.parameters = merge(r.models.parameters(meta+"ListOptions"), pretty)
	if after == "" {
		o.parameters = merge(o.parameters, r.where())
	}
	listKind := r.kind()
	listKind.Kind = r.ListKind
	media := objectMedia
	if r.can("watch") {
		media = listMedia
	}
	o.responses = answers(ok(&content{model: r.models.name(listKind), media: r.media(media)}))
	return o
}

func (r *resourcePaths) watchList(scope, after string) operation {
	o := operation{
		method: "get", id: "watch" + r.words + scope + r.Kind + "List" + after, tag: r.tag, action: "watchlist", kind: r.kind(),
		description: "watch individual changes to a list of " + r.Kind + ". deprecated: use the 'watch' parameter with a list operation instead.",
	}
	o.parameters = merge(r.models.parameters(meta+"ListOptions"), pretty)
	if after == "" {
		o.parameters = merge(o.parameters, r.where())
	}
	o.responses = answers(ok(&content{model: watchEventModel, media: r.media(listMedia)}))
	return o
}

func (r *resourcePaths) watch() operation {
	o := r.operation("get", "watch", "", "watch", "watch changes to an object of kind "+r.Kind+
		". deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter.")
	o.parameters = merge(r.models.parameters(meta+"ListOptions"), r.where(), r.named(), pretty)
	o.responses = answers(ok(&content{model: watchEventModel, media: r.media(listMedia)}))
	return o
}

// returnsObject are the core resources whose deletion answers the object.
var returnsObject = []string{
	"pods", "podtemplates", "resourcequotas", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims",
}

func (r *resourcePaths) itemOperations() []operation {
	var ops []operation
	model := r.models.name(r.kind())
	if r.can("delete") {
		o := r.operation("delete", "delete", "", "delete", "delete "+article(r.Kind)+r.Kind)
		o.parameters = merge(r.where(), r.named(), r.models.parameters(deleteOptions), pretty)
		o.body = &content{model: deleteOptions, media: anyMedia}
		answer := r.object(statusModel)
		if r.gv.Group == "" && slices.Contains(returnsObject, r.Plural) {
			answer = r.object(model)
		}
		o.responses = answers(ok(answer), accepted(answer))
		ops = append(ops, o)
	}
	if r.can("get") {
		o := r.operation("get", "read", "", "get", "read the specified "+r.Kind)
		o.parameters = merge(r.where(), r.named(), pretty)
		o.responses = answers(ok(r.object(model)))
		ops = append(ops, o)
	}
	if r.can("patch") {
		ops = append(ops, r.patch(r.operation("patch", "patch", "", "patch", "partially update the specified "+r.Kind), model))
	}
	if r.can("update") {
		ops = append(ops, r.put(r.operation("put", "replace", "", "put", "replace the specified "+r.Kind), model))
	}
	return ops
}

func (r *resourcePaths) patch(o operation, model string) operation {
	o.parameters = merge(r.where(), r.named(), r.models.parameters(meta+"PatchOptions"), pretty)
	o.body = &content{model: patchModel, media: r.media(patchMedia), required: true}
	o.responses = answers(ok(r.object(model)), created(r.object(model)))
	return o
}

func (r *resourcePaths) put(o operation, model string) operation {
	o.parameters = merge(r.where(), r.named(), r.models.parameters(meta+"UpdateOptions"), pretty)
	o.body = &content{model: model, media: anyMedia, required: true}
	o.responses = answers(ok(r.object(model)), created(r.object(model)))
	return o
}

var pretty = []parameter{{
	name: "pretty", in: "query", typ: "string",
	description: "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).",
}}

// where is the namespace parameter of namespaced resources.
func (r *resourcePaths) where() []parameter {
	if !r.Namespaced {
		return nil
	}
	return []parameter{{name: "namespace", in: "path", typ: "string", description: "object name and auth scope, such as for teams and projects"}}
}

func (r *resourcePaths) named() []parameter {
	return []parameter{{name: "name", in: "path", typ: "string", description: "name of the " + r.Kind}}
}

// merge joins lists of parameters; the first of a name wins.
func merge(lists ...[]parameter) []parameter {
	var out []parameter
	for _, list := range lists {
		for _, p := range list {
			if !slices.ContainsFunc(out, func(q parameter) bool { return q.name == p.name && q.in == p.in }) {
				out = append(out, p)
			}
		}
	}
	return out
}
