package resourcequota

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	counting "xebec.dev/api/quota"
	"xebec.dev/apiserver/internal/configfile"
)

// LimitedResource needs a quota that covers it, or it may not be used.
type LimitedResource struct {
	APIGroup      string                                     `json:"apiGroup,omitempty"`
	Resource      string                                     `json:"resource"`
	MatchContains []string                                   `json:"matchContains,omitempty"`
	MatchScopes   []corev1.ScopedResourceSelectorRequirement `json:"matchScopes,omitempty"`
}

type configuration struct {
	APIVersion       string            `json:"apiVersion"`
	Kind             string            `json:"kind"`
	LimitedResources []LimitedResource `json:"limitedResources,omitempty"`
}

// Configuration reads the plugin's part of the admission configuration.
func Configuration(content []byte) ([]LimitedResource, error) {
	if len(content) == 0 {
		return nil, nil
	}
	var c configuration
	for _, group := range []string{configfile.Group, "resourcequota.admission.k8s.io"} {
		kind := "ResourceQuotaConfiguration"
		if group != configfile.Group {
			kind = "Configuration"
		}
		if _, err := configfile.Decode(content, group, kind, []string{"v1", "v1beta1", "v1alpha1"}, &c); err == nil {
			return c.LimitedResources, nil
		} else if group != configfile.Group {
			return nil, err
		}
	}
	return nil, nil
}

// covered refuses what is limited and has no quota for it.
func (p *Plugin) covered(q *ask, quotas []*corev1.ResourceQuota) error {
	var lacking []corev1.ResourceName
	var uncovered []corev1.ScopedResourceSelectorRequirement
	for i := range p.limited {
		l := &p.limited[i]
		if l.APIGroup != q.resource.Group || l.Resource != q.resource.Plural {
			continue
		}
		for _, name := range names(q.more) {
			if l.contains(name) && !limits(quotas, name) {
				lacking = append(lacking, name)
			}
		}
		for _, s := range l.MatchScopes {
			if counting.InScope(&s, q.obj) && !hasScope(quotas, &s) {
				uncovered = append(uncovered, s)
			}
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("insufficient quota to consume: %s", joined(lacking))
	}
	if len(uncovered) > 0 {
		return fmt.Errorf("insufficient quota to match these scopes: %v", uncovered)
	}
	return nil
}

func (l *LimitedResource) contains(name corev1.ResourceName) bool {
	for _, part := range l.MatchContains {
		if strings.Contains(string(name), part) {
			return true
		}
	}
	return false
}

func limits(quotas []*corev1.ResourceQuota, name corev1.ResourceName) bool {
	for _, q := range quotas {
		if _, ok := q.Status.Hard[name]; ok {
			return true
		}
	}
	return false
}

func hasScope(quotas []*corev1.ResourceQuota, want *corev1.ScopedResourceSelectorRequirement) bool {
	for _, q := range quotas {
		for _, s := range counting.Scopes(q) {
			if s.ScopeName == want.ScopeName {
				return true
			}
		}
	}
	return false
}
