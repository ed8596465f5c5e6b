package scheduling

import (
	"context"
	"encoding/json"
	"testing"

	"k8s.io/api/scheduling/v1alpha3"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/declared/declaredtest"
	"xebec.dev/api/scheme"
)

const (
	workloadBase = `{"metadata":{"name":"w"},"spec":{"controllerRef":{"apiGroup":"a.b","kind":"K","name":"n"},"podGroupTemplates":[
		{"name":"a","schedulingPolicy":{"gang":{"minCount":3}},"schedulingConstraints":{"topology":[{"key":"a/b"}]},"resourceClaims":[{"name":"c","resourceClaimName":"d"}],
			"disruptionMode":{"all":{}},"priorityClassName":"p","priority":5,"preemptionPolicy":"Never"},
		{"name":"b","schedulingPolicy":{"basic":{}}}]}}`
	compositeWorkloadBase = `{"metadata":{"name":"w"},"spec":{"compositePodGroupTemplates":[{"name":"c","schedulingPolicy":{"gang":{"minGroupCount":2}},"disruptionMode":{"single":{}},
		"priorityClassName":"p","podGroupTemplates":[{"name":"a","schedulingPolicy":{"basic":{}}}]}]}}`
	podGroupBase = `{"metadata":{"name":"g"},"spec":{"parentCompositePodGroupName":"p","workloadRef":{"workloadName":"w","templateName":"a"},"schedulingPolicy":{"gang":{"minCount":3}},
		"schedulingConstraints":{"topology":[{"key":"a/b"}]},"resourceClaims":[{"name":"c","resourceClaimTemplateName":"d"}],"disruptionMode":{"all":{}},"priorityClassName":"p","priority":5,"preemptionPolicy":"Never"}}`
	compositeBase = `{"metadata":{"name":"g"},"spec":{"parentCompositePodGroupName":"p","workloadRef":{"workloadName":"w","templateName":"a"},"schedulingPolicy":{"gang":{"minGroupCount":3}},
		"schedulingConstraints":{"topology":[{"key":"a/b"}]},"disruptionMode":{"all":{}},"priorityClassName":"p","priority":5,"preemptionPolicy":"Never"}}`
)

// TestDeclared has the features of the group on, as who asks for its versions
// wants them.
func TestDeclared(t *testing.T) {
	ctx, spec := context.Background(), field.NewPath("spec")
	create := operation.Operation{Type: operation.Create, Options: map[string]bool{
		"CompositePodGroup": true, "PodGroupPreemptionPolicy": true, "TopologyAwareWorkloadScheduling": true,
	}}
	ours := func(r scheme.Resource, b []byte) (field.ErrorList, error) {
		o := r.New()
		if err := json.Unmarshal(b, o); err != nil {
			return nil, err
		}
		if s := &r.Strategy; s.Default != nil {
			s.Default(o)
		}
		return r.Strategy.ValidateCreate(o), nil
	}
	workload := func(b []byte) (mine, theirs field.ErrorList, err error) {
		var w v1alpha3.Workload
		if err = json.Unmarshal(b, &w); err == nil {
			mine, err = ours(workloads(), b)
		}
		return mine, v1alpha3.Validate_WorkloadSpec(ctx, create, spec, &w.Spec, nil), err
	}
	for name, c := range map[string]struct {
		base  string
		check func([]byte) (mine, theirs field.ErrorList, err error)
	}{
		"workload":  {workloadBase, workload},
		"composite": {compositeWorkloadBase, workload},
		"group": {podGroupBase, func(b []byte) (mine, theirs field.ErrorList, err error) {
			var g v1alpha3.PodGroup
			if err = json.Unmarshal(b, &g); err == nil {
				mine, err = ours(podGroups(), b)
			}
			if g.Spec.DisruptionMode == nil { // as defaulted
				g.Spec.DisruptionMode = &v1alpha3.DisruptionMode{Single: &v1alpha3.SingleDisruptionMode{}}
			}
			return mine, v1alpha3.Validate_PodGroupSpec(ctx, create, spec, &g.Spec, nil), err
		}},
		"composite group": {compositeBase, func(b []byte) (mine, theirs field.ErrorList, err error) {
			var g v1alpha3.CompositePodGroup
			if err = json.Unmarshal(b, &g); err == nil {
				mine, err = ours(compositePodGroups(), b)
			}
			if g.Spec.DisruptionMode == nil { // as defaulted
				g.Spec.DisruptionMode = &v1alpha3.CompositeDisruptionMode{Single: &v1alpha3.SingleCompositeDisruptionMode{}}
			}
			return mine, v1alpha3.Validate_CompositePodGroupSpec(ctx, create, spec, &g.Spec, nil), err
		}},
	} {
		t.Run(name, func(t *testing.T) { declaredtest.Compare(t, c.base, c.check) })
	}
}

// TestDeclaredUpdate compares what updates are refused.
func TestDeclaredUpdate(t *testing.T) {
	ctx, spec := context.Background(), field.NewPath("spec")
	update := operation.Operation{Type: operation.Update, Options: map[string]bool{
		"CompositePodGroup": true, "PodGroupPreemptionPolicy": true, "TopologyAwareWorkloadScheduling": true,
	}}
	ours := func(r scheme.Resource, b []byte, base string) (field.ErrorList, error) {
		o, old := r.New(), r.New()
		for _, x := range []struct {
			to   any
			from []byte
		}{{old, []byte(base)}, {o, b}} {
			if err := json.Unmarshal(x.from, x.to); err != nil {
				return nil, err
			}
		}
		if s := &r.Strategy; s.Default != nil {
			s.Default(o)
		}
		return r.Strategy.ValidateUpdate(o, old), nil
	}
	workload := func(base string) func(b []byte) (mine, theirs field.ErrorList, err error) {
		return func(b []byte) (mine, theirs field.ErrorList, err error) {
			var w, old v1alpha3.Workload
			if err = json.Unmarshal([]byte(base), &old); err == nil {
				err = json.Unmarshal(b, &w)
			}
			if err == nil {
				mine, err = ours(workloads(), b, base)
			}
			return mine, v1alpha3.Validate_WorkloadSpec(ctx, update, spec, &w.Spec, &old.Spec), err
		}
	}
	for name, c := range map[string]struct {
		base  string
		check func([]byte) (mine, theirs field.ErrorList, err error)
	}{
		"workload":  {workloadBase, workload(workloadBase)},
		"composite": {compositeWorkloadBase, workload(compositeWorkloadBase)},
		"group": {podGroupBase, func(b []byte) (mine, theirs field.ErrorList, err error) {
			var g, old v1alpha3.PodGroup
			if err = json.Unmarshal([]byte(podGroupBase), &old); err == nil {
				err = json.Unmarshal(b, &g)
			}
			if err == nil {
				mine, err = ours(podGroups(), b, podGroupBase)
			}
			if g.Spec.DisruptionMode == nil { // as defaulted
				g.Spec.DisruptionMode = &v1alpha3.DisruptionMode{Single: &v1alpha3.SingleDisruptionMode{}}
			}
			return mine, v1alpha3.Validate_PodGroupSpec(ctx, update, spec, &g.Spec, &old.Spec), err
		}},
	} {
		t.Run(name, func(t *testing.T) { declaredtest.Compare(t, c.base, c.check) })
	}
}
