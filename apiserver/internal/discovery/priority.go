package discovery

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Priorities of groups that come with no number of their own.
const (
	// CustomGroupPriority is that of custom resources' groups.
	CustomGroupPriority = 1000
	// CustomVersionPriority is that of custom resources' versions.
	CustomVersionPriority = 100
	// unknownGroupPriority puts a built-in group that is not in the table
	// after the others.
	unknownGroupPriority = 16000
)

// groupPriorities of the built-in groups; clients see them in APIServices.
var groupPriorities = map[string]int32{
	"":                             18000,
	"apiregistration.k8s.io":       18000,
	"apps":                         17800,
	"events.k8s.io":                17750,
	"authentication.k8s.io":        17700,
	"authorization.k8s.io":         17600,
	"autoscaling":                  17500,
	"batch":                        17400,
	"certificates.k8s.io":          17300,
	"networking.k8s.io":            17200,
	"policy":                       17100,
	"rbac.authorization.k8s.io":    17000,
	"storage.k8s.io":               16800,
	"admissionregistration.k8s.io": 16700,
	"apiextensions.k8s.io":         16700,
	"scheduling.k8s.io":            16600,
	"coordination.k8s.io":          16500,
	"node.k8s.io":                  16300,
	"discovery.k8s.io":             16200,
	"resource.k8s.io":              16200,
	"flowcontrol.apiserver.k8s.io": 16100,
}

// GroupPriority is a built-in group's groupPriorityMinimum.
func GroupPriority(group string) int32 {
	if p, ok := groupPriorities[group]; ok {
		return p
	}
	return unknownGroupPriority
}

var versionPriorities = map[schema.GroupVersion]int32{
	{Version: "v1"}:                                        1,
	{Group: "autoscaling", Version: "v2"}:                  30,
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: 21,
	{Group: "resource.k8s.io", Version: "v1"}:              21,
}

// VersionPriority is a built-in version's versionPriority.
func VersionPriority(gv schema.GroupVersion) int32 {
	if p, ok := versionPriorities[gv]; ok {
		return p
	}
	switch {
	case strings.Contains(gv.Version, "alpha"):
		return 1
	case strings.Contains(gv.Version, "beta"):
		return 9
	}
	return 15
}
