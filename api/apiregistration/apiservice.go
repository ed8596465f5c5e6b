package apiregistration

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	apiregistrationv1 "xebec.dev/api/apiregistration/v1"
	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

const (
	defaultPort        = 443
	maxGroupPriority   = 20000
	maxVersionPriority = 1000
)

func setDefaults(s *apiregistrationv1.APIService) {
	if s.Spec.Service != nil && s.Spec.Service.Port == nil {
		port := int32(defaultPort)
		s.Spec.Service.Port = &port
	}
}

func prepareCreate(c scheme.Context, s *apiregistrationv1.APIService) {
	s.Status = apiregistrationv1.APIServiceStatus{}
	if s.Spec.Service == nil {
		s.Status.Conditions = []apiregistrationv1.APIServiceCondition{apiregistrationv1.LocalAvailable(c.Now)}
	}
}

func prepareUpdate(_ scheme.Context, s, old *apiregistrationv1.APIService) {
	old.Status.DeepCopyInto(&s.Status)
}

func prepareStatus(_ scheme.Context, s, old *apiregistrationv1.APIService) {
	old.Spec.DeepCopyInto(&s.Spec)
	s.Labels, s.Annotations = old.Labels, old.Annotations
	s.Finalizers, s.OwnerReferences = old.Finalizers, old.OwnerReferences
}

func validateUpdate(s, _ *apiregistrationv1.APIService) field.ErrorList { return validate(s) }

func validate(s *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	if want := s.Spec.Version + "." + s.Spec.Group; s.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	spec := field.NewPath("spec")
	switch {
	case s.Spec.Group != "":
		errs = append(errs, check.Subdomain(spec.Child("group"), s.Spec.Group)...)
	case s.Spec.Version != "v1":
		errs = append(errs, field.Required(spec.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	errs = append(errs, check.Messages(spec.Child("version"), s.Spec.Version, validation.IsDNS1035Label(s.Spec.Version))...)
	errs = append(errs, validatePriority(spec.Child("groupPriorityMinimum"), s.Spec.GroupPriorityMinimum, maxGroupPriority)...)
	errs = append(errs, validatePriority(spec.Child("versionPriority"), s.Spec.VersionPriority, maxVersionPriority)...)
	if s.Spec.Service == nil {
		return append(errs, validateLocal(spec, &s.Spec)...)
	}
	return append(errs, validateRemote(spec, &s.Spec)...)
}

func validatePriority(path *field.Path, v, limit int32) field.ErrorList {
	if v > 0 && v <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(path, v, fmt.Sprintf("must be positive and less than %d", limit))}
}

func validateLocal(path *field.Path, s *apiregistrationv1.APIServiceSpec) field.ErrorList {
	var errs field.ErrorList
	if n := len(s.CABundle); n > 0 {
		errs = append(errs, field.Invalid(path.Child("caBundle"), fmt.Sprintf("%d bytes", n), "local APIServices may not have a caBundle"))
	}
	if s.InsecureSkipTLSVerify {
		errs = append(errs, field.Invalid(path.Child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify"))
	}
	return errs
}

func validateRemote(path *field.Path, s *apiregistrationv1.APIServiceSpec) field.ErrorList {
	service := path.Child("service")
	errs := check.Required(service.Child("namespace"), s.Service.Namespace)
	errs = append(errs, check.Required(service.Child("name"), s.Service.Name)...)
	if s.Service.Port != nil {
		if faults := validation.IsValidPortNum(int(*s.Service.Port)); len(faults) > 0 {
			errs = append(errs, field.Invalid(service.Child("port"), *s.Service.Port, "port is not valid: "+strings.Join(faults, ",")))
		}
	}
	if s.InsecureSkipTLSVerify && len(s.CABundle) > 0 {
		errs = append(errs, field.Invalid(path.Child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(s, _ *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status", "conditions")
	for i := range s.Status.Conditions {
		status := metav1.ConditionStatus(s.Status.Conditions[i].Status)
		errs = append(errs, check.OneOf(path.Index(i).Child("status"), status, metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown)...)
	}
	return errs
}

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Service", "The reference to the service that hosts this API endpoint."),
		table.String("Available", "Whether this service is available."),
		table.Age(),
	}
}

func row(s *apiregistrationv1.APIService, now metav1.Time) []any {
	service := "Local"
	if s.Spec.Service != nil {
		service = s.Spec.Service.Namespace + "/" + s.Spec.Service.Name
	}
	available := string(metav1.ConditionUnknown)
	if c := s.Status.Condition(apiregistrationv1.Available); c != nil {
		available = c.Status
		if c.Status != string(metav1.ConditionTrue) {
			available += " (" + c.Reason + ")"
		}
	}
	return []any{s.Name, service, available, table.Since(s.CreationTimestamp, now)}
}
