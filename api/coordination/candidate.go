package coordination

import (
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/api/coordination/v1alpha2"
	"k8s.io/api/coordination/v1beta1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
	"xebec.dev/api/version"
)

type candidate = v1beta1.LeaseCandidate

func candidates() scheme.Resource {
	return scheme.Resource{
		Group: "coordination.k8s.io", Version: "v1beta1", Kind: "LeaseCandidate",
		Plural: "leasecandidates", Singular: "leasecandidate",
		Namespaced: true,
		New:        func() runtime.Object { return new(candidate) },
		NewList:    func() runtime.Object { return new(v1beta1.LeaseCandidateList) },
		Served: []scheme.Version{
			version.Off(version.Own("coordination.k8s.io", "v1beta1", &candidate{})),
			version.Off(version.WireEqual[v1alpha2.LeaseCandidate, v1alpha2.LeaseCandidateList, candidate]("coordination.k8s.io", "v1alpha2")),
		},
		StoragePrefix: "leasecandidates",
		Columns:       candidateColumns(),
		Row:           scheme.Rows(candidateRow),
		Strategy: scheme.Hooks[candidate]{
			ValidateCreate: func(c *candidate) field.ErrorList { return validateCandidate(&c.Spec) },
			ValidateUpdate: func(c, old *candidate) field.ErrorList {
				errs := validateCandidate(&c.Spec)
				return append(errs, check.Unchanged(field.NewPath("spec", "leaseName"), c.Spec.LeaseName, old.Spec.LeaseName, nil)...)
			},
			CreateOnUpdate: true,
			RequireVersion: true,
		}.Erase(),
	}
}

func validateCandidate(s *v1beta1.LeaseCandidateSpec) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if s.LeaseName == "" {
		errs = append(errs, field.Required(path.Child("leaseName"), ""))
	} else {
		errs = append(errs, check.Messages(path.Child("leaseName"), s.LeaseName, validation.NameIsDNSSubdomain(s.LeaseName, false))...)
	}
	binary, faults := parseVersion(path.Child("binaryVersion"), s.BinaryVersion)
	if s.BinaryVersion == "" {
		faults = field.ErrorList{field.Required(path.Child("binaryVersion"), "")}
	}
	errs = append(errs, faults...)
	if s.EmulationVersion != "" {
		emulated, faults := parseVersion(path.Child("emulationVersion"), s.EmulationVersion)
		errs = append(errs, faults...)
		if binary != nil && emulated != nil && binary.LessThan(emulated) {
			errs = append(errs, field.Invalid(path.Child("binaryVersion"), s.BinaryVersion, "must be greater than or equal to `emulationVersion`"))
		}
	}
	return append(errs, validateStrategy(path, s)...)
}

func validateStrategy(path *field.Path, s *v1beta1.LeaseCandidateSpec) field.ErrorList {
	at := path.Child("strategy")
	switch {
	case s.Strategy == "":
		return field.ErrorList{field.Required(at, "")}
	case s.Strategy == coordinationv1.OldestEmulationVersion:
		if s.EmulationVersion == "" {
			return field.ErrorList{field.Required(path.Child("emulationVersion"), "must be specified when `strategy` is 'OldestEmulationVersion'")}
		}
		return nil
	case !strings.Contains(string(s.Strategy), "/"):
		return field.ErrorList{field.NotSupported(at, s.Strategy, []coordinationv1.CoordinatedLeaseStrategy{coordinationv1.OldestEmulationVersion})}
	}
	return check.QualifiedName(at, string(s.Strategy))
}

func parseVersion(path *field.Path, text string) (*utilversion.Version, field.ErrorList) {
	v, err := utilversion.ParseSemantic(text)
	if err != nil || strings.HasPrefix(text, "v") {
		return nil, field.ErrorList{field.Invalid(path, text, "must be a valid semantic version")}
	}
	return v, nil
}

func candidateColumns() []metav1.TableColumnDefinition {
	spec := v1beta1.LeaseCandidateSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("LeaseName", spec, "leaseName"),
		table.Field("BinaryVersion", spec, "binaryVersion"),
		table.Field("EmulationVersion", spec, "emulationVersion"),
		table.Field("Strategy", spec, "strategy"),
		table.Age(),
	}
}

func candidateRow(c *candidate, now metav1.Time) []any {
	return []any{c.Name, c.Spec.LeaseName, c.Spec.BinaryVersion, c.Spec.EmulationVersion, string(c.Spec.Strategy), table.Since(c.CreationTimestamp, now)}
}
