package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultPreemptionArgs bound how many nodes preemption looks at.
type DefaultPreemptionArgs struct {
	metav1.TypeMeta             `json:",inline"`
	MinCandidateNodesPercentage *int32 `json:"minCandidateNodesPercentage,omitempty"`
	MinCandidateNodesAbsolute   *int32 `json:"minCandidateNodesAbsolute,omitempty"`
}

// InterPodAffinityArgs are those of InterPodAffinity.
type InterPodAffinityArgs struct {
	metav1.TypeMeta                    `json:",inline"`
	HardPodAffinityWeight              *int32 `json:"hardPodAffinityWeight,omitempty"`
	IgnorePreferredTermsOfExistingPods bool   `json:"ignorePreferredTermsOfExistingPods"`
}

// NodeAffinityArgs are those of NodeAffinity.
type NodeAffinityArgs struct {
	metav1.TypeMeta `json:",inline"`
	AddedAffinity   *corev1.NodeAffinity `json:"addedAffinity,omitempty"`
}

// NodeResourcesFitArgs are those of NodeResourcesFit.
type NodeResourcesFitArgs struct {
	metav1.TypeMeta       `json:",inline"`
	IgnoredResources      []string         `json:"ignoredResources,omitempty"`
	IgnoredResourceGroups []string         `json:"ignoredResourceGroups,omitempty"`
	ScoringStrategy       *ScoringStrategy `json:"scoringStrategy,omitempty"`
}

// ScoringStrategy of NodeResourcesFit.
type ScoringStrategy struct {
	Type                     string                    `json:"type,omitempty"`
	Resources                []ResourceSpec            `json:"resources,omitempty"`
	RequestedToCapacityRatio *RequestedToCapacityRatio `json:"requestedToCapacityRatio,omitempty"`
}

// ResourceSpec is a resource with its weight.
type ResourceSpec struct {
	Name   string `json:"name"`
	Weight int64  `json:"weight,omitempty"`
}

// RequestedToCapacityRatio is a broken line.
type RequestedToCapacityRatio struct {
	Shape []UtilizationShapePoint `json:"shape,omitempty"`
}

// UtilizationShapePoint is a score from 0 to 10 at a percentage.
type UtilizationShapePoint struct {
	Utilization int32 `json:"utilization"`
	Score       int32 `json:"score"`
}

// NodeResourcesBalancedAllocationArgs are those of that plugin.
type NodeResourcesBalancedAllocationArgs struct {
	metav1.TypeMeta `json:",inline"`
	Resources       []ResourceSpec `json:"resources,omitempty"`
}

// PodTopologySpreadArgs are those of PodTopologySpread.
type PodTopologySpreadArgs struct {
	metav1.TypeMeta    `json:",inline"`
	DefaultConstraints []corev1.TopologySpreadConstraint `json:"defaultConstraints,omitempty"`
	DefaultingType     string                            `json:"defaultingType,omitempty"`
}

// VolumeBindingArgs are those of VolumeBinding.
type VolumeBindingArgs struct {
	metav1.TypeMeta    `json:",inline"`
	BindTimeoutSeconds *int64                  `json:"bindTimeoutSeconds,omitempty"`
	Shape              []UtilizationShapePoint `json:"shape,omitempty"`
}

// DynamicResourcesArgs are those of DynamicResources.
type DynamicResourcesArgs struct {
	metav1.TypeMeta `json:",inline"`
	FilterTimeout   *metav1.Duration `json:"filterTimeout,omitempty"`
	BindingTimeout  *metav1.Duration `json:"bindingTimeout,omitempty"`
}

// newArgs are the arguments of plugins that have some, with defaults.
var newArgs = map[string]func() any{
	"DefaultPreemption": func() any {
		return &DefaultPreemptionArgs{MinCandidateNodesPercentage: ptr[int32](10), MinCandidateNodesAbsolute: ptr[int32](100)}
	},
	"InterPodAffinity": func() any { return &InterPodAffinityArgs{HardPodAffinityWeight: ptr[int32](1)} },
	"NodeAffinity":     func() any { return &NodeAffinityArgs{} },
	"NodeResourcesFit": func() any { return &NodeResourcesFitArgs{} },
	"NodeResourcesBalancedAllocation": func() any {
		return &NodeResourcesBalancedAllocationArgs{}
	},
	"PodTopologySpread": func() any { return &PodTopologySpreadArgs{} },
	"VolumeBinding":     func() any { return &VolumeBindingArgs{BindTimeoutSeconds: ptr[int64](600)} },
	"DynamicResources":  func() any { return &DynamicResourcesArgs{} },
}

// complete fills in what depends on other fields.
func complete(args any) {
	cpuAndMemory := []ResourceSpec{{Name: "cpu", Weight: 1}, {Name: "memory", Weight: 1}}
	switch a := args.(type) {
	case *NodeResourcesFitArgs:
		if a.ScoringStrategy == nil {
			a.ScoringStrategy = &ScoringStrategy{Type: "LeastAllocated"}
		}
		if len(a.ScoringStrategy.Resources) == 0 {
			a.ScoringStrategy.Resources = cpuAndMemory
		}
		weigh(a.ScoringStrategy.Resources)
	case *NodeResourcesBalancedAllocationArgs:
		if len(a.Resources) == 0 {
			a.Resources = cpuAndMemory
		}
		weigh(a.Resources)
	case *PodTopologySpreadArgs:
		if a.DefaultingType == "" {
			a.DefaultingType = "System"
		}
	}
}

func weigh(list []ResourceSpec) {
	for i := range list {
		if list[i].Weight == 0 {
			list[i].Weight = 1
		}
	}
}

func ptr[T any](v T) *T { return &v }

func setDefault[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
