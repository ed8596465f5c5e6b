package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
)

// Validate checks a configuration and names every field that is wrong.
func Validate(c *Configuration) error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if *c.Parallelism <= 0 {
		bad("parallelism", "Invalid value: %d: should be an integer value greater than zero", *c.Parallelism)
	}
	percentage(bad, "percentageOfNodesToScore", c.PercentageOfNodesToScore)
	if *c.PodInitialBackoffSeconds <= 0 {
		bad("podInitialBackoffSeconds", "Invalid value: %d: must be greater than 0", *c.PodInitialBackoffSeconds)
	}
	if *c.PodMaxBackoffSeconds < *c.PodInitialBackoffSeconds {
		bad("podMaxBackoffSeconds", "Invalid value: %d: must be greater than or equal to PodInitialBackoffSeconds", *c.PodMaxBackoffSeconds)
	}
	c.LeaderElection.validate(bad)
	c.validateProfiles(bad)
	c.validateExtenders(bad)
	return errors.Join(errs...)
}

func percentage(bad func(string, string, ...any), field string, v *int32) {
	if v != nil && (*v < 0 || *v > 100) {
		bad(field, "Invalid value: %d: not in valid range [0-100]", *v)
	}
}

func (l *LeaderElection) validate(bad func(string, string, ...any)) {
	if !*l.LeaderElect {
		return
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"leaseDuration", l.LeaseDuration.Duration}, {"renewDeadline", l.RenewDeadline.Duration}, {"retryPeriod", l.RetryPeriod.Duration}} {
		if d.value <= 0 {
			bad("leaderElection."+d.field, "Invalid value: %q: must be greater than zero", d.value)
		}
	}
	if l.LeaseDuration.Duration <= l.RenewDeadline.Duration {
		bad("leaderElection.leaseDuration", "Invalid value: %q: LeaseDuration must be greater than RenewDeadline", l.LeaseDuration.Duration)
	}
	if l.RenewDeadline.Duration <= l.RetryPeriod.Duration {
		bad("leaderElection.renewDeadline", "Invalid value: %q: RenewDeadline must be greater than RetryPeriod", l.RenewDeadline.Duration)
	}
	if l.ResourceLock != "leases" {
		bad("leaderElection.resourceLock", "Invalid value: %q: resourceLock value must be \"leases\"", l.ResourceLock)
	}
}

func (c *Configuration) validateProfiles(bad func(string, string, ...any)) {
	seen := map[string]bool{}
	for i := range c.Profiles {
		p, at := &c.Profiles[i], fmt.Sprintf("profiles[%d]", i)
		switch {
		case p.SchedulerName == nil || *p.SchedulerName == "":
			bad(at+".schedulerName", "Required value")
			continue
		case seen[*p.SchedulerName]:
			bad(at+".schedulerName", "Duplicate value: %q", *p.SchedulerName)
		}
		seen[*p.SchedulerName] = true
		percentage(bad, at+".percentageOfNodesToScore", p.PercentageOfNodesToScore)
		if !reflect.DeepEqual(p.Plugins.QueueSort, c.Profiles[0].Plugins.QueueSort) {
			bad(at+".plugins.queueSort", "Invalid value: queueSort must be the same for all profiles")
		}
		for j := range p.PluginConfig {
			validateArgs(bad, fmt.Sprintf("%s.pluginConfig[%d].args", at, j), p.PluginConfig[j].parsed)
		}
	}
}

func validateArgs(bad func(string, string, ...any), at string, args any) {
	switch a := args.(type) {
	case *DefaultPreemptionArgs:
		percentage(bad, at+".minCandidateNodesPercentage", a.MinCandidateNodesPercentage)
		if *a.MinCandidateNodesAbsolute < 0 {
			bad(at+".minCandidateNodesAbsolute", "Invalid value: %d: not in valid range [0, inf)", *a.MinCandidateNodesAbsolute)
		}
		if *a.MinCandidateNodesAbsolute == 0 && *a.MinCandidateNodesPercentage == 0 {
			bad(at, "Invalid value: cannot have zero value at the same time for minCandidateNodesPercentage and minCandidateNodesAbsolute")
		}
	case *InterPodAffinityArgs:
		percentage(bad, at+".hardPodAffinityWeight", a.HardPodAffinityWeight)
	case *PodTopologySpreadArgs:
		validateSpread(bad, at, a)
	case *NodeAffinityArgs:
		validateAffinity(bad, at+".addedAffinity", a.AddedAffinity)
	case *DynamicResourcesArgs:
		if d := a.FilterTimeout; d != nil && d.Duration < 0 {
			bad(at+".filterTimeout", "Invalid value: %q: must be greater than or equal to zero", d.Duration)
		}
		if d := a.BindingTimeout; d != nil && d.Duration < time.Second {
			bad(at+".bindingTimeout", "Invalid value: %q: must be at least 1 second", d.Duration)
		}
	case *NodeResourcesFitArgs:
		validateFit(bad, at, a)
	case *NodeResourcesBalancedAllocationArgs:
		for i, r := range a.Resources {
			if r.Weight != 1 {
				bad(fmt.Sprintf("%s.resources[%d].weight", at, i), "Invalid value: %d: resource weight of %s not 1", r.Weight, r.Name)
			}
		}
	case *VolumeBindingArgs:
		if *a.BindTimeoutSeconds < 0 {
			bad(at+".bindTimeoutSeconds", "Invalid value: %d: invalid BindTimeoutSeconds, should not be a negative value", *a.BindTimeoutSeconds)
		}
		if len(a.Shape) > 0 {
			bad(at+".shape", "Invalid value: unexpected field `shape`, StorageCapacityScoring feature is disabled")
		}
	}
}

func validateAffinity(bad func(string, string, ...any), at string, a *corev1.NodeAffinity) {
	if a == nil {
		return
	}
	path := field.NewPath(at)
	var all field.ErrorList
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		all = core.ValidateNodeSelector(r, false, path.Child("requiredDuringSchedulingIgnoredDuringExecution"))
	}
	for i, t := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		one := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{t.Preference}}
		for _, e := range core.ValidateNodeSelector(one, false, field.NewPath("")) {
			bad(fmt.Sprintf("%s.preferredDuringSchedulingIgnoredDuringExecution[%d].preference", at, i), "%s", e.ErrorBody())
		}
	}
	for _, e := range all {
		bad(e.Field, "%s", e.ErrorBody())
	}
}

func validateSpread(bad func(string, string, ...any), at string, a *PodTopologySpreadArgs) {
	switch a.DefaultingType {
	case "System":
		if len(a.DefaultConstraints) > 0 {
			bad(at+".defaultingType", "Invalid value: %q: when .defaultConstraints are not empty, this must be \"List\"", a.DefaultingType)
		}
	case "List":
	default:
		bad(at+".defaultingType", "Unsupported value: %q: supported values: \"System\", \"List\"", a.DefaultingType)
	}
	for i := range a.DefaultConstraints {
		t, f := &a.DefaultConstraints[i], fmt.Sprintf("%s.defaultConstraints[%d]", at, i)
		if t.MaxSkew <= 0 {
			bad(f+".maxSkew", "Invalid value: %d: not in valid range (0, inf)", t.MaxSkew)
		}
		if t.TopologyKey == "" {
			bad(f+".topologyKey", "Required value: can not be empty")
		}
		if t.WhenUnsatisfiable != "DoNotSchedule" && t.WhenUnsatisfiable != "ScheduleAnyway" {
			bad(f+".whenUnsatisfiable", "Unsupported value: %q: supported values: \"DoNotSchedule\", \"ScheduleAnyway\"", t.WhenUnsatisfiable)
		}
		if t.LabelSelector != nil {
			bad(f+".labelSelector", "Forbidden: constraint must not define a selector, as they deduced for each pod")
		}
		for j := range i {
			if o := &a.DefaultConstraints[j]; o.TopologyKey == t.TopologyKey && o.WhenUnsatisfiable == t.WhenUnsatisfiable {
				bad(f, "Duplicate value: \"{%s, %s}\"", t.TopologyKey, t.WhenUnsatisfiable)
			}
		}
	}
}

func validateFit(bad func(string, string, ...any), at string, a *NodeResourcesFitArgs) {
	for i, name := range a.IgnoredResources {
		for _, why := range validation.IsQualifiedName(name) {
			bad(fmt.Sprintf("%s.ignoredResources[%d]", at, i), "Invalid value: %q: %s", name, why)
		}
	}
	for i, group := range a.IgnoredResourceGroups {
		f := fmt.Sprintf("%s.ignoredResourceGroups[%d]", at, i)
		if strings.Contains(group, "/") {
			bad(f, "Invalid value: %q: resource group name can't contain '/'", group)
			continue
		}
		for _, why := range validation.IsQualifiedName(group) {
			bad(f, "Invalid value: %q: %s", group, why)
		}
	}
	s := a.ScoringStrategy
	at += ".scoringStrategy"
	for i, r := range s.Resources {
		if r.Weight < 1 || r.Weight > 100 {
			bad(fmt.Sprintf("%s.resources[%d].weight", at, i), "Invalid value: %d: resource weight of %s not in valid range [1-100]", r.Weight, r.Name)
		}
	}
	switch s.Type {
	case "LeastAllocated", "MostAllocated":
	case "RequestedToCapacityRatio":
		var shape []UtilizationShapePoint
		if s.RequestedToCapacityRatio != nil {
			shape = s.RequestedToCapacityRatio.Shape
		}
		validateShape(bad, at+".requestedToCapacityRatio.shape", shape, true)
	default:
		bad(at+".type", "Unsupported value: %q: supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\"", s.Type)
	}
}

func validateShape(bad func(string, string, ...any), at string, shape []UtilizationShapePoint, needed bool) {
	if len(shape) == 0 && needed {
		bad(at, "Required value: at least one point must be specified")
	}
	for i, p := range shape {
		f := fmt.Sprintf("%s[%d]", at, i)
		if i > 0 && p.Utilization <= shape[i-1].Utilization {
			bad(f+".utilization", "Invalid value: %d: utilization values must be sorted in increasing order", p.Utilization)
		}
		if p.Utilization < 0 || p.Utilization > 100 {
			bad(f+".utilization", "Invalid value: %d: not in valid range [0-100]", p.Utilization)
		}
		if p.Score < 0 || p.Score > 10 {
			bad(f+".score", "Invalid value: %d: not in valid range [0-10]", p.Score)
		}
	}
}

func (c *Configuration) validateExtenders(bad func(string, string, ...any)) {
	binders, managed := 0, map[string]bool{}
	for i := range c.Extenders {
		e, at := &c.Extenders[i], fmt.Sprintf("extenders[%d]", i)
		if e.URLPrefix == "" {
			bad(at+".urlPrefix", "Required value")
		}
		if e.PrioritizeVerb != "" && e.Weight <= 0 {
			bad(at+".weight", "Invalid value: %d: must have a positive weight applied to it", e.Weight)
		}
		if e.BindVerb != "" {
			binders++
		}
		for j, r := range e.ManagedResources {
			if managed[r.Name] {
				bad(fmt.Sprintf("%s.managedResources[%d].name", at, j), "Invalid value: %q: duplicate extender managed resource name", r.Name)
			}
			managed[r.Name] = true
			if domain, _, extended := strings.Cut(r.Name, "/"); !extended || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") || len(validation.IsQualifiedName(r.Name)) > 0 {
				bad(fmt.Sprintf("%s.managedResources[%d].name", at, j), "Invalid value: %q: is an invalid extended resource name", r.Name)
			}
		}
	}
	if binders > 1 {
		bad("extenders", "Invalid value: found %d extenders implementing bind, only one extender can implement bind", binders)
	}
}
