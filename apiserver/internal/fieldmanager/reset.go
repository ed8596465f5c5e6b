package fieldmanager

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"xebec.dev/api/scheme"
)

// resetPaths are the fields that an endpoint takes from the stored object.
func resetPaths(res *scheme.Resource, subresource string) []string {
	if subresource == "" {
		return res.Strategy.ResetFields
	}
	if sub := res.Subresource(subresource); sub != nil && sub.Update != nil {
		return sub.Update.ResetFields
	}
	return nil
}

// resetFilters keeps what an endpoint resets out of managedFields, at every
// version: the paths are of the top levels, which versions share.
func resetFilters(res *scheme.Resource, subresource string) map[fieldpath.APIVersion]fieldpath.Filter {
	filter := resetFilter(res, subresource)
	if filter == nil {
		return nil
	}
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	for _, v := range res.ServedVersions() {
		filters[fieldpath.APIVersion(schema.GroupVersion{Group: v.Group, Version: v.Version}.String())] = filter
	}
	return filters
}

func resetFilter(res *scheme.Resource, subresource string) fieldpath.Filter {
	if isResize(res, subresource) {
		return resizeFilter()
	}
	paths := resetPaths(res, subresource)
	if len(paths) == 0 {
		return nil
	}
	set := fieldpath.NewSet()
	for _, p := range paths {
		set.Insert(path(p))
	}
	return fieldpath.NewExcludeSetFilter(set)
}

func isResize(res *scheme.Resource, subresource string) bool {
	return res.Group == "" && res.Plural == "pods" && subresource == "resize"
}

func path(dotted string) fieldpath.Path {
	var p fieldpath.Path
	for _, name := range strings.Split(dotted, ".") {
		p = append(p, fieldpath.PathElement{FieldName: &name})
	}
	return p
}

// resizeFilter lets a pod's resize own what it can change, container
// resources, and nothing else: a list of all other fields would never end.
func resizeFilter() fieldpath.Filter {
	any := fieldpath.MatchAnyPathElement()
	var matchers *fieldpath.SetMatcher
	for _, list := range []string{"containers", "initContainers"} {
		for _, leaf := range []string{"resources", "resizePolicy"} {
			m := fieldpath.MakePrefixMatcherOrDie("spec", list, any, leaf)
			if matchers == nil {
				matchers = m
			} else {
				matchers = matchers.Merge(m)
			}
		}
	}
	return fieldpath.NewIncludeMatcherFilter(matchers)
}
