package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"xebec.dev/apiserver/internal/request"
)

// rule is a PolicyRule with its wildcards found.
type rule struct {
	*rbacv1.PolicyRule
	anyVerb, anyGroup, anyResource, anyURL bool
}

func compile(rules []rbacv1.PolicyRule) []rule {
	out := make([]rule, len(rules))
	for i := range rules {
		r := &rules[i]
		out[i] = rule{
			PolicyRule:  r,
			anyVerb:     has(r.Verbs, "*"),
			anyGroup:    has(r.APIGroups, "*"),
			anyResource: has(r.Resources, "*"),
			anyURL:      has(r.NonResourceURLs, "*"),
		}
	}
	return out
}

func (r *rule) allows(a *request.Info) bool {
	if !r.anyVerb && !has(r.Verbs, a.Verb) {
		return false
	}
	if !a.IsResource {
		return r.anyURL || coversURL(r.NonResourceURLs, a.Path)
	}
	return (r.anyGroup || has(r.APIGroups, a.Group)) &&
		(r.anyResource || hasResource(r.Resources, a.Resource, a.Subresource)) &&
		(len(r.ResourceNames) == 0 || a.Name != "" && has(r.ResourceNames, a.Name))
}

func has(set []string, s string) bool {
	for i := range set {
		if set[i] == s {
			return true
		}
	}
	return false
}

// hasResource looks for resource/subresource and */subresource without making
// the joined string.
func hasResource(set []string, resource, subresource string) bool {
	if subresource == "" {
		return has(set, resource)
	}
	for _, s := range set {
		rest, ok := strings.CutSuffix(s, subresource)
		if !ok || rest == "" || rest[len(rest)-1] != '/' {
			continue
		}
		if rest = rest[:len(rest)-1]; rest == resource || rest == "*" {
			return true
		}
	}
	return false
}

func coversURL(set []string, path string) bool {
	for _, s := range set {
		if s == path {
			return true
		}
		if strings.HasSuffix(s, "*") && strings.HasPrefix(path, strings.TrimRight(s, "*")) {
			return true
		}
	}
	return false
}
