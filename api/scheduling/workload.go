package scheduling

import (
	"k8s.io/api/scheduling/v1alpha3"
	"k8s.io/api/scheduling/v1beta1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/declared"
	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

const group = "scheduling.k8s.io"

// rules are what the types of v1beta1 and v1alpha3 declare.
var rules = declared.Parse(`
WorkloadSpec
  controllerRef:              immutable
  podGroupTemplates:          unionMember listMapKey=name maxItems=8 update=NoAddItem update=NoRemoveItem
  compositePodGroupTemplates: unionMember listMapKey=name maxItems=8 update=NoAddItem update=NoRemoveItem
TypedLocalObjectReference
  apiGroup: format=k8s-long-name
  kind:     required format=k8s-path-segment-name
  name:     required format=k8s-path-segment-name
PodGroupTemplate
  name:                  required format=k8s-short-name
  schedulingConstraints: immutable
  resourceClaims:        immutable listMapKey=name maxItems=4
  disruptionMode:        immutable
  priorityClassName:     immutable format=k8s-long-name
  priority:              immutable maximum=1000000000
  preemptionPolicy:      immutable enum=Never,PreemptLowerPriority
CompositePodGroupTemplate
  name:                       required format=k8s-short-name
  schedulingConstraints:      immutable
  disruptionMode:             immutable
  priorityClassName:          immutable format=k8s-long-name
  priority:                   immutable maximum=1000000000
  preemptionPolicy:           immutable enum=Never,PreemptLowerPriority
  podGroupTemplates:          listMapKey=name maxItems=8 update=NoAddItem update=NoRemoveItem
  compositePodGroupTemplates: listMapKey=name maxItems=8 update=NoAddItem update=NoRemoveItem
PodGroupSchedulingPolicy CompositePodGroupSchedulingPolicy
  basic: unionMember immutable
  gang:  unionMember update=NoSet update=NoUnset
GangSchedulingPolicy
  minCount: required minimum=1
CompositeGangSchedulingPolicy
  minGroupCount: required minimum=1
PodGroupResourceClaim
  name:                      required format=k8s-short-name
  resourceClaimName:         unionMember format=k8s-long-name
  resourceClaimTemplateName: unionMember format=k8s-long-name
DisruptionMode CompositeDisruptionMode
  single: unionMember
  all:    unionMember
PodGroupSchedulingConstraints CompositePodGroupSchedulingConstraints
  topology: maxItems=1
TopologyConstraint
  key: required format=k8s-label-key
WorkloadReference
  workloadName: required format=k8s-long-name
  templateName: required format=k8s-short-name
PodGroupSpec
  parentCompositePodGroupName: immutable format=k8s-long-name
  workloadRef:                 immutable
  schedulingConstraints:       immutable
  resourceClaims:              immutable listMapKey=name maxItems=4
  disruptionMode:              immutable
  priorityClassName:           immutable format=k8s-long-name
  priority:                    immutable maximum=1000000000
  preemptionPolicy:            immutable enum=Never,PreemptLowerPriority
CompositePodGroupSpec
  parentCompositePodGroupName: immutable format=k8s-long-name
  workloadRef:                 required immutable
  schedulingPolicy:            immutable
  schedulingConstraints:       immutable
  disruptionMode:              immutable
  priorityClassName:           immutable format=k8s-long-name
  priority:                    immutable maximum=1000000000
  preemptionPolicy:            immutable enum=Never,PreemptLowerPriority
PodGroupStatus
  resourceClaimStatuses: listMapKey=name maxItems=4
PodGroupResourceClaimStatus
  resourceClaimName: format=k8s-long-name
`)

func workloads() scheme.Resource {
	type workload = v1beta1.Workload
	spec := field.NewPath("spec")
	return scheme.Resource{
		Group: group, Version: "v1beta1", Kind: "Workload",
		Plural: "workloads", Singular: "workload",
		Namespaced: true,
		New:        func() runtime.Object { return new(workload) },
		NewList:    func() runtime.Object { return new(v1beta1.WorkloadList) },
		Served: []scheme.Version{
			version.Off(version.Own(group, "v1beta1", &workload{})),
			version.Off(version.WireEqual[v1alpha3.Workload, v1alpha3.WorkloadList, workload](group, "v1alpha3")),
		},
		StoragePrefix: "workloads",
		Strategy: scheme.Hooks[workload]{
			ValidateCreate: func(w *workload) field.ErrorList {
				return append(rules.Create(spec, &w.Spec), validateTemplates(spec, w.Spec.CompositePodGroupTemplates, 2)...)
			},
			ValidateUpdate: func(w, old *workload) field.ErrorList { return rules.Update(spec, &w.Spec, &old.Spec) },
			SpecChanged:    func(w, old *workload) bool { return !apiequality.Semantic.DeepEqual(&w.Spec, &old.Spec) },
		}.Erase(),
	}
}

// validateTemplates requires that templates of groups have templates of their
// own, down to a limited depth; their lists are on that level.
func validateTemplates(path *field.Path, templates []v1beta1.CompositePodGroupTemplate, level int) field.ErrorList {
	var errs field.ErrorList
	for i := range templates {
		t, at := &templates[i], path.Child("compositePodGroupTemplates").Index(i)
		if len(t.PodGroupTemplates) == 0 && len(t.CompositePodGroupTemplates) == 0 {
			errs = append(errs, field.Required(at, "at least one of podGroupTemplates and compositePodGroupTemplates must be set"))
			continue
		}
		if level > v1beta1.WorkloadMaxTreeDepth {
			errs = append(errs, field.Invalid(at, t.Name, "templates may not be nested deeper"))
			continue
		}
		errs = append(errs, validateTemplates(at, t.CompositePodGroupTemplates, level+1)...)
	}
	return errs
}

func podGroups() scheme.Resource {
	type podGroup = v1beta1.PodGroup
	spec, status := field.NewPath("spec"), field.NewPath("status")
	return scheme.Resource{
		Group: group, Version: "v1beta1", Kind: "PodGroup",
		Plural: "podgroups", Singular: "podgroup",
		Namespaced: true,
		New:        func() runtime.Object { return new(podGroup) },
		NewList:    func() runtime.Object { return new(v1beta1.PodGroupList) },
		Served: []scheme.Version{
			version.Off(version.Own(group, "v1beta1", &podGroup{})),
			version.Off(version.WireEqual[v1alpha3.PodGroup, v1alpha3.PodGroupList, podGroup](group, "v1alpha3")),
		},
		StoragePrefix: "podgroups",
		Strategy: scheme.Hooks[podGroup]{
			Default: func(g *podGroup) {
				if g.Spec.DisruptionMode == nil {
					g.Spec.DisruptionMode = &v1beta1.DisruptionMode{Single: &v1beta1.SingleDisruptionMode{}}
				}
			},
			PrepareCreate: func(_ scheme.Context, g *podGroup) { g.Status = v1beta1.PodGroupStatus{} },
			PrepareUpdate: func(_ scheme.Context, g, old *podGroup) { old.Status.DeepCopyInto(&g.Status) },
			ValidateCreate: func(g *podGroup) field.ErrorList {
				errs := rules.Create(spec, &g.Spec)
				if g.Spec.ParentCompositePodGroupName != nil && g.Spec.WorkloadRef == nil {
					errs = append(errs, field.Required(spec.Child("workloadRef"), "must be set when parentCompositePodGroupName is set"))
				}
				return errs
			},
			ValidateUpdate: func(g, old *podGroup) field.ErrorList { return rules.Update(spec, &g.Spec, &old.Spec) },
			SpecChanged:    func(g, old *podGroup) bool { return !apiequality.Semantic.DeepEqual(&g.Spec, &old.Spec) },
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{statusOf(scheme.UpdateHooks[podGroup]{
			PrepareUpdate: func(_ scheme.Context, g, old *podGroup) {
				metav1.ResetObjectMetaForStatus(&g.ObjectMeta, &old.ObjectMeta)
				old.Spec.DeepCopyInto(&g.Spec)
			},
			ValidateUpdate: func(g, old *podGroup) field.ErrorList {
				errs := check.Conditions(status.Child("conditions"), g.Status.Conditions)
				return append(errs, rules.Update(status, &g.Status, &old.Status)...)
			},
			ResetFields: []string{"metadata", "spec"},
		}.Pointer())},
	}
}

func compositePodGroups() scheme.Resource {
	type composite = v1alpha3.CompositePodGroup
	spec, status := field.NewPath("spec"), field.NewPath("status")
	return scheme.Resource{
		Group: group, Version: "v1alpha3", Kind: "CompositePodGroup",
		Plural: "compositepodgroups", Singular: "compositepodgroup",
		Namespaced:    true,
		New:           func() runtime.Object { return new(composite) },
		NewList:       func() runtime.Object { return new(v1alpha3.CompositePodGroupList) },
		Served:        []scheme.Version{version.Off(version.Own(group, "v1alpha3", &composite{}))},
		StoragePrefix: "compositepodgroups",
		Strategy: scheme.Hooks[composite]{
			Default: func(g *composite) {
				if g.Spec.DisruptionMode == nil {
					g.Spec.DisruptionMode = &v1alpha3.CompositeDisruptionMode{Single: &v1alpha3.SingleCompositeDisruptionMode{}}
				}
			},
			PrepareCreate:  func(_ scheme.Context, g *composite) { g.Status = v1alpha3.CompositePodGroupStatus{} },
			PrepareUpdate:  func(_ scheme.Context, g, old *composite) { old.Status.DeepCopyInto(&g.Status) },
			ValidateCreate: func(g *composite) field.ErrorList { return rules.Create(spec, &g.Spec) },
			ValidateUpdate: func(g, old *composite) field.ErrorList { return rules.Update(spec, &g.Spec, &old.Spec) },
			SpecChanged:    func(g, old *composite) bool { return !apiequality.Semantic.DeepEqual(&g.Spec, &old.Spec) },
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{statusOf(scheme.UpdateHooks[composite]{
			PrepareUpdate: func(_ scheme.Context, g, old *composite) {
				metav1.ResetObjectMetaForStatus(&g.ObjectMeta, &old.ObjectMeta)
				old.Spec.DeepCopyInto(&g.Spec)
			},
			ValidateUpdate: func(g, _ *composite) field.ErrorList {
				return check.Conditions(status.Child("conditions"), g.Status.Conditions)
			},
			ResetFields: []string{"metadata", "spec"},
		}.Pointer())},
	}
}

func statusOf(update *scheme.UpdateStrategy) scheme.Subresource {
	return scheme.Subresource{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: update}
}
