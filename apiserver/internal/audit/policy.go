package audit

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/configfile"
	"xebec.dev/apiserver/internal/request"
)

// Policy is audit.k8s.io/v1 Policy.
type Policy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Rules             []Rule  `json:"rules"`
	OmitStages        []Stage `json:"omitStages,omitempty"`
	OmitManagedFields bool    `json:"omitManagedFields,omitempty"`
}

// Rule gives the level of the requests it matches. The first that matches counts.
type Rule struct {
	Level             Level            `json:"level"`
	Users             []string         `json:"users,omitempty"`
	UserGroups        []string         `json:"userGroups,omitempty"`
	Verbs             []string         `json:"verbs,omitempty"`
	Resources         []GroupResources `json:"resources,omitempty"`
	Namespaces        []string         `json:"namespaces,omitempty"`
	NonResourceURLs   []string         `json:"nonResourceURLs,omitempty"`
	OmitStages        []Stage          `json:"omitStages,omitempty"`
	OmitManagedFields *bool            `json:"omitManagedFields,omitempty"`
}

// GroupResources are resources of one API group.
type GroupResources struct {
	Group         string   `json:"group,omitempty"`
	Resources     []string `json:"resources,omitempty"`
	ResourceNames []string `json:"resourceNames,omitempty"`
}

// ParsePolicy reads and validates a policy.
func ParsePolicy(content []byte) (*Policy, error) {
	var p Policy
	if _, err := configfile.Decode(content, "audit.k8s.io", "Policy", []string{"v1"}, &p); err != nil {
		return nil, err
	}
	if len(p.Rules) == 0 {
		return nil, fmt.Errorf("loaded illegal policy with 0 rules")
	}
	if errs := p.validate(); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return &p, nil
}

func (p *Policy) validate() field.ErrorList {
	errs := validateStages(p.OmitStages, field.NewPath("omitStages"))
	for i := range p.Rules {
		r, at := &p.Rules[i], field.NewPath("rules").Index(i)
		switch {
		case r.Level == "":
			errs = append(errs, field.Required(at.Child("level"), ""))
		case order[r.Level] == 0 && r.Level != None:
			errs = append(errs, field.NotSupported(at.Child("level"), r.Level, []Level{None, Metadata, Request, RequestResponse}))
		}
		if len(r.NonResourceURLs) > 0 && (len(r.Resources) > 0 || len(r.Namespaces) > 0) {
			errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
		}
		for n, u := range r.NonResourceURLs {
			if u != "*" && (!strings.HasPrefix(u, "/") || strings.Contains(strings.TrimSuffix(u, "*"), "*")) {
				errs = append(errs, field.Invalid(at.Child("nonResourceURLs").Index(n), u, `non-resource URL rules must begin with a '/' and may have a '*' at the end only`))
			}
		}
		for n, g := range r.Resources {
			if len(g.ResourceNames) > 0 && len(g.Resources) == 0 {
				errs = append(errs, field.Invalid(at.Child("resources").Index(n).Child("resourceNames"), g.ResourceNames, "using resourceNames requires at least one resource"))
			}
		}
		errs = append(errs, validateStages(r.OmitStages, at.Child("omitStages"))...)
	}
	return errs
}

func validateStages(stages []Stage, p *field.Path) (errs field.ErrorList) {
	for i, s := range stages {
		if !slices.Contains([]Stage{RequestReceived, ResponseStarted, ResponseComplete, Panic}, s) {
			errs = append(errs, field.Invalid(p.Index(i), s, "allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"))
		}
	}
	return errs
}

// Decision is what a policy says about one request.
type Decision struct {
	Level             Level
	OmitStages        []Stage
	OmitManagedFields bool
}

// Decide finds the first rule that matches. Without any nothing is recorded.
func (p *Policy) Decide(u *request.User, a *request.Info) Decision {
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.matches(u, a) {
			continue
		}
		d := Decision{Level: r.Level, OmitStages: append(slices.Clip(p.OmitStages), r.OmitStages...), OmitManagedFields: p.OmitManagedFields}
		if r.OmitManagedFields != nil {
			d.OmitManagedFields = *r.OmitManagedFields
		}
		return d
	}
	return Decision{Level: None, OmitStages: p.OmitStages}
}

func (r *Rule) matches(u *request.User, a *request.Info) bool {
	if len(r.Users) > 0 && !slices.Contains(r.Users, u.Name) {
		return false
	}
	if len(r.UserGroups) > 0 && !slices.ContainsFunc(u.Groups, func(g string) bool { return slices.Contains(r.UserGroups, g) }) {
		return false
	}
	if len(r.Verbs) > 0 && !slices.Contains(r.Verbs, a.Verb) {
		return false
	}
	switch {
	case len(r.Namespaces) > 0 || len(r.Resources) > 0:
		return a.IsResource && r.matchesResource(a)
	case len(r.NonResourceURLs) > 0:
		return !a.IsResource && slices.ContainsFunc(r.NonResourceURLs, func(u string) bool { return matchesPath(u, a.Path) })
	}
	return true
}

func (r *Rule) matchesResource(a *request.Info) bool {
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, a.Namespace) {
		return false
	}
	return len(r.Resources) == 0 || slices.ContainsFunc(r.Resources, func(g GroupResources) bool { return g.matches(a) })
}

func (g *GroupResources) matches(a *request.Info) bool {
	if g.Group != a.Group {
		return false
	}
	if len(g.Resources) == 0 {
		return true
	}
	if len(g.ResourceNames) > 0 && !slices.Contains(g.ResourceNames, a.Name) {
		return false
	}
	for _, res := range g.Resources {
		if res == "*" || res == a.CombinedResource() ||
			a.Subresource != "" && (res == "*/"+a.Subresource || res == a.Resource+"/*") {
			return true
		}
	}
	return false
}

func matchesPath(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}
