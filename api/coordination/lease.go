package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

type lease = coordinationv1.Lease

func hooks() scheme.Hooks[lease] {
	return scheme.Hooks[lease]{
		PrepareCreate:  func(_ scheme.Context, l *lease) { dropElection(l, nil) },
		ValidateCreate: func(l *lease) field.ErrorList { return validateSpec(&l.Spec) },
		PrepareUpdate:  func(_ scheme.Context, l, old *lease) { dropElection(l, old) },
		ValidateUpdate: func(l, _ *lease) field.ErrorList { return validateSpec(&l.Spec) },
		CreateOnUpdate: true,
		// A lock taken by whoever writes last would be none.
		RequireVersion: true,
		UpdateOnly:     true,
	}
}

// dropElection takes out what belongs to the gate CoordinatedLeaderElection,
// off by default, unless the lease has it already.
func dropElection(l, old *lease) {
	if old != nil && old.Spec.Strategy != nil {
		return
	}
	l.Spec.Strategy = nil
	if old == nil || old.Spec.PreferredHolder == nil {
		l.Spec.PreferredHolder = nil
	}
}

func validateSpec(s *coordinationv1.LeaseSpec) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec")
	if n := s.LeaseDurationSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *n, "must be greater than 0"))
	}
	if n := s.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	return errs
}

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Holder", coordinationv1.LeaseSpec{}, "holderIdentity"),
		table.Age(),
	}
}

func row(l *lease, now metav1.Time) []any {
	holder := ""
	if l.Spec.HolderIdentity != nil {
		holder = *l.Spec.HolderIdentity
	}
	return []any{l.Name, holder, table.Since(l.CreationTimestamp, now)}
}
