package lifecycle

import (
	"strings"

	"k8s.io/api/lifecycle/v1alpha1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/declared"
	"xebec.dev/api/scheme"
)

// rules are what the types of v1alpha1 declare.
var rules = declared.Parse(`
EvictionRequestSpec
  target:    immutable
  requester: required immutable format=k8s-prefixed-label-key
  intent:    required enum=Eviction,Withdrawn
EvictionSpec
  target: immutable
EvictionRequestTarget EvictionTarget
  pod: unionMember
EvictionRequestPodReference EvictionPodReference
  name: required format=k8s-long-name
  uid:  required format=k8s-uuid
EvictionRequestStatus
  conditions:         maxItems=100
  observedGeneration: minimum=1 monotonic update=NoUnset
EvictionStatus
  conditions:         maxItems=100
  observedGeneration: minimum=1 monotonic update=NoUnset
  requesters:         listMapKey=name maxItems=100
  targetResponders:   listMapKey=name maxItems=11
  responders:         listMapKey=name maxItems=11
Requester
  name:   required format=k8s-prefixed-label-key
  intent: required enum=Eviction,Withdrawn
TargetResponder
  name:     required format=k8s-prefixed-label-key
  priority: required minimum=0 maximum=100000 update=NoModify update=NoUnset
  state:    required enum=Inactive,Active,Interrupted,Canceled,Completed
ResponderStatus
  name:           required format=k8s-prefixed-label-key
  startTime:      update=NoModify update=NoUnset
  completionTime: update=NoModify update=NoUnset
  message:        maxLength=4000
`)

var spec, status = field.NewPath("spec"), field.NewPath("status")

var requestHooks = scheme.Hooks[v1alpha1.EvictionRequest]{
	PrepareCreate: func(_ scheme.Context, r *v1alpha1.EvictionRequest) { r.Status = v1alpha1.EvictionRequestStatus{} },
	PrepareUpdate: func(_ scheme.Context, r, old *v1alpha1.EvictionRequest) { old.Status.DeepCopyInto(&r.Status) },
	ValidateCreate: func(r *v1alpha1.EvictionRequest) field.ErrorList {
		return append(rules.Create(spec, &r.Spec), validateRequester(r.Spec.Requester)...)
	},
	ValidateUpdate: func(r, old *v1alpha1.EvictionRequest) field.ErrorList { return rules.Update(spec, &r.Spec, &old.Spec) },
	SpecChanged: func(r, old *v1alpha1.EvictionRequest) bool {
		return !apiequality.Semantic.DeepEqual(&r.Spec, &old.Spec)
	},
	ResetFields: []string{"status"},
}

var requestStatusHooks = scheme.UpdateHooks[v1alpha1.EvictionRequest]{
	PrepareUpdate: func(_ scheme.Context, r, old *v1alpha1.EvictionRequest) {
		metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
		old.Spec.DeepCopyInto(&r.Spec)
	},
	ValidateUpdate: func(r, old *v1alpha1.EvictionRequest) field.ErrorList {
		errs := check.Conditions(status.Child("conditions"), r.Status.Conditions)
		return append(errs, rules.Update(status, &r.Status, &old.Status)...)
	},
	ResetFields: []string{"metadata", "spec"},
}

var evictionHooks = scheme.Hooks[v1alpha1.Eviction]{
	PrepareCreate:  func(_ scheme.Context, e *v1alpha1.Eviction) { e.Status = v1alpha1.EvictionStatus{} },
	PrepareUpdate:  func(_ scheme.Context, e, old *v1alpha1.Eviction) { old.Status.DeepCopyInto(&e.Status) },
	ValidateCreate: func(e *v1alpha1.Eviction) field.ErrorList { return rules.Create(spec, &e.Spec) },
	ValidateUpdate: func(e, old *v1alpha1.Eviction) field.ErrorList { return rules.Update(spec, &e.Spec, &old.Spec) },
	SpecChanged:    func(e, old *v1alpha1.Eviction) bool { return !apiequality.Semantic.DeepEqual(&e.Spec, &old.Spec) },
	ResetFields:    []string{"status"},
}

var evictionStatusHooks = scheme.UpdateHooks[v1alpha1.Eviction]{
	PrepareUpdate: func(_ scheme.Context, e, old *v1alpha1.Eviction) {
		metav1.ResetObjectMetaForStatus(&e.ObjectMeta, &old.ObjectMeta)
		old.Spec.DeepCopyInto(&e.Spec)
	},
	ValidateUpdate: validateEvictionStatus,
	ResetFields:    []string{"metadata", "spec"},
}

// validateRequester keeps the domains of Kubernetes for itself.
func validateRequester(name string) field.ErrorList {
	domain, _, _ := strings.Cut(name, "/")
	for _, reserved := range []string{"k8s.io", "kubernetes.io"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return field.ErrorList{field.Invalid(spec.Child("requester"), name, "domain names *.k8s.io and *.kubernetes.io are reserved")}
		}
	}
	return nil
}

func validateEvictionStatus(e, old *v1alpha1.Eviction) field.ErrorList {
	errs := check.Conditions(status.Child("conditions"), e.Status.Conditions)
	errs = append(errs, rules.Update(status, &e.Status, &old.Status)...)
	active := 0
	for i := range e.Status.TargetResponders {
		if e.Status.TargetResponders[i].State == v1alpha1.ResponderStateActive {
			active++
		}
	}
	if active > 1 {
		errs = append(errs, field.Invalid(status.Child("targetResponders"), active, "at most one responder may be Active"))
	}
	return errs
}
