package rbac

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Covers reports whether what wanted permits is permitted by held, and what
// is not, in the smallest rules.
func Covers(held, wanted []rbacv1.PolicyRule) (bool, []rbacv1.PolicyRule) {
	var missing []rbacv1.PolicyRule
	for i := range wanted {
		breakDown(&wanted[i], func(one rbacv1.PolicyRule) {
			if !slices.ContainsFunc(held, func(h rbacv1.PolicyRule) bool { return covers(&h, &one) }) {
				missing = append(missing, one)
			}
		})
	}
	return len(missing) == 0, missing
}

// breakDown yields rules of one verb on one thing.
func breakDown(r *rbacv1.PolicyRule, yield func(rbacv1.PolicyRule)) {
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				one := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
				if len(r.ResourceNames) == 0 {
					yield(one)
				}
				for _, name := range r.ResourceNames {
					one.ResourceNames = []string{name}
					yield(one)
				}
			}
		}
	}
	for _, url := range r.NonResourceURLs {
		for _, verb := range r.Verbs {
			yield(rbacv1.PolicyRule{NonResourceURLs: []string{url}, Verbs: []string{verb}})
		}
	}
}

// covers compares with a rule made by breakDown.
func covers(held, one *rbacv1.PolicyRule) bool {
	if !hasOrAny(held.Verbs, one.Verbs[0]) {
		return false
	}
	if len(one.NonResourceURLs) > 0 {
		return has(held.NonResourceURLs, "*") || coversURL(held.NonResourceURLs, one.NonResourceURLs[0])
	}
	if !hasOrAny(held.APIGroups, one.APIGroups[0]) {
		return false
	}
	resource, subresource, _ := strings.Cut(one.Resources[0], "/")
	if !has(held.Resources, "*") && !hasResource(held.Resources, resource, subresource) {
		return false
	}
	if len(held.ResourceNames) == 0 {
		return true
	}
	return len(one.ResourceNames) > 0 && has(held.ResourceNames, one.ResourceNames[0])
}

func hasOrAny(set []string, s string) bool { return has(set, "*") || has(set, s) }

// compact joins the verbs of rules that are otherwise the same; rules of
// non-resource URLs stay single.
func compact(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	type thing struct{ group, resource, name string }
	var out []rbacv1.PolicyRule
	at := map[thing]int{}
	for _, r := range rules {
		if len(r.NonResourceURLs) > 0 {
			out = append(out, r)
			continue
		}
		k := thing{r.APIGroups[0], r.Resources[0], strings.Join(r.ResourceNames, "/")}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			r.Verbs = slices.Clone(r.Verbs)
			out = append(out, r)
			continue
		}
		for _, v := range r.Verbs {
			if !has(out[i].Verbs, v) {
				out[i].Verbs = append(out[i].Verbs, v)
			}
		}
	}
	return out
}

// describeRules gives a sorted line for each rule.
func describeRules(rules []rbacv1.PolicyRule) string {
	var lines []string
	for _, r := range compact(rules) {
		lines = append(lines, describeRule(&r))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

func describeRule(r *rbacv1.PolicyRule) string {
	var parts []string
	for _, p := range []struct {
		name string
		set  []string
	}{
		{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"NonResourceURLs", r.NonResourceURLs},
		{"ResourceNames", r.ResourceNames}, {"Verbs", r.Verbs},
	} {
		if len(p.set) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", p.name, p.set))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
