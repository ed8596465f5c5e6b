package certificates

import (
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
	"xebec.dev/api/version"
)

// podRequest is stored at v1beta1, which can hold all that v1 can.
type podRequest = certificatesv1beta1.PodCertificateRequest

func podRequests() scheme.Resource {
	return scheme.Resource{
		Group: group, Version: "v1beta1", Kind: "PodCertificateRequest",
		Plural: "podcertificaterequests", Singular: "podcertificaterequest", Namespaced: true,
		New:     func() runtime.Object { return new(podRequest) },
		NewList: func() runtime.Object { return new(certificatesv1beta1.PodCertificateRequestList) },
		Served: []scheme.Version{
			version.WireEqual[certificatesv1.PodCertificateRequest, certificatesv1.PodCertificateRequestList, podRequest](group, "v1"),
			version.Off(version.Own(group, "v1beta1", &podRequest{})),
		},
		StoragePrefix: "podcertificaterequests",
		Fields:        []scheme.SelectableField{{Label: "spec.signerName"}, {Label: "spec.podName"}, {Label: "spec.nodeName"}},
		Columns:       podRequestColumns(),
		Row:           scheme.Rows(podRequestRow),
		Strategy: scheme.Hooks[podRequest]{
			Default: func(r *podRequest) {
				if r.Spec.MaxExpirationSeconds == nil {
					seconds := int32(defaultLifetime)
					r.Spec.MaxExpirationSeconds = &seconds
				}
			},
			PrepareCreate: func(_ scheme.Context, r *podRequest) {
				r.Status = certificatesv1beta1.PodCertificateRequestStatus{}
			},
			PrepareUpdate:  func(_ scheme.Context, r, old *podRequest) { old.Status.DeepCopyInto(&r.Status) },
			ValidateCreate: func(r *podRequest) field.ErrorList { return validatePodRequest(&r.Spec) },
			ValidateUpdate: validatePodRequestUpdate,
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{{
			Name: "status", Verbs: []string{"get", "patch", "update"},
			Update: scheme.UpdateHooks[podRequest]{
				PrepareUpdate: func(_ scheme.Context, r, old *podRequest) {
					metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
					old.Spec.DeepCopyInto(&r.Spec)
				},
				ValidateUpdate: validatePodRequestStatus,
				ResetFields:    []string{"metadata", "spec"},
			}.Pointer(),
		}},
	}
}

// Lifetimes of certificates, in seconds.
const (
	minLifetime           = 3600
	defaultLifetime       = 86400
	maxLifetime           = 91 * 86400
	maxKubernetesLifetime = 86400
	// maxUID bounds the UIDs of other objects, in bytes.
	maxUID = 128
	// maxUserAnnotations bounds keys and values together, in bytes.
	maxUserAnnotations = 256 << 10
)

func validatePodRequest(s *certificatesv1beta1.PodCertificateRequestSpec) field.ErrorList {
	at := field.NewPath("spec")
	errs := ValidateSignerName(at.Child("signerName"), s.SignerName)
	for _, o := range []struct {
		name, value string
		uid         types.UID
	}{
		{"pod", s.PodName, s.PodUID},
		{"serviceAccount", s.ServiceAccountName, s.ServiceAccountUID},
		{"node", string(s.NodeName), s.NodeUID},
	} {
		errs = append(errs, check.Messages(at.Child(o.name+"Name"), o.value, validation.NameIsDNSSubdomain(o.value, false))...)
		errs = append(errs, validateUID(at.Child(o.name+"UID"), o.uid)...)
	}
	errs = append(errs, validateLifetime(at.Child("maxExpirationSeconds"), s)...)
	errs = append(errs, validateProof(at, s)...)
	return append(errs, validateUserAnnotations(at.Child("unverifiedUserAnnotations"), s.UnverifiedUserAnnotations)...)
}

func validateUID(at *field.Path, uid types.UID) field.ErrorList {
	switch {
	case uid == "":
		return field.ErrorList{field.Required(at, "must not be empty")}
	case len(uid) > maxUID:
		return field.ErrorList{field.TooLong(at, uid, maxUID)}
	}
	return nil
}

func validateLifetime(at *field.Path, s *certificatesv1beta1.PodCertificateRequestSpec) field.ErrorList {
	if s.MaxExpirationSeconds == nil {
		return field.ErrorList{field.Required(at, "must be set")}
	}
	most := int32(maxLifetime)
	if strings.HasPrefix(s.SignerName, "kubernetes.io/") {
		most = maxKubernetesLifetime
	}
	if v := *s.MaxExpirationSeconds; v < minLifetime || v > most {
		return field.ErrorList{field.Invalid(at, v, fmt.Sprintf("must be in the range [%d, %d]", minLifetime, most))}
	}
	return nil
}

func validateUserAnnotations(at *field.Path, annotations map[string]string) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for k, v := range annotations {
		size += len(k) + len(v)
		errs = append(errs, check.Messages(at, k, utilvalidation.IsQualifiedName(strings.ToLower(k)))...)
		if !strings.Contains(k, "/") {
			errs = append(errs, field.Invalid(at, k, "key must be domain-prefixed"))
		}
	}
	if size > maxUserAnnotations {
		errs = append(errs, field.TooLong(at, "", maxUserAnnotations))
	}
	return errs
}

func validatePodRequestUpdate(r, old *podRequest) field.ErrorList {
	return check.Unchanged(field.NewPath("spec"), r.Spec, old.Spec, internalform.Of)
}

func validatePodRequestStatus(r, old *podRequest) field.ErrorList {
	at := field.NewPath("status")
	decided, errs := decision(at.Child("conditions"), old.Status.Conditions)
	if len(errs) == 0 && decided != "" {
		// What was decided stays.
		return check.Unchanged(at, r.Status, old.Status, internalform.Of)
	}
	errs = check.Conditions(at.Child("conditions"), r.Status.Conditions)
	decided, more := decision(at.Child("conditions"), r.Status.Conditions)
	errs = append(errs, more...)
	if decided == certificatesv1beta1.PodCertificateRequestConditionTypeIssued {
		return append(errs, validateIssued(at, r)...)
	}
	empty := certificatesv1beta1.PodCertificateRequestStatus{Conditions: r.Status.Conditions}
	if !apiequality.Semantic.DeepEqual(r.Status, empty) {
		errs = append(errs, field.Forbidden(at, "non-condition status fields must not be set unless the request is issued"))
	}
	return errs
}

// decision is the one condition that ends a request, "" while there is none.
func decision(at *field.Path, conditions []metav1.Condition) (string, field.ErrorList) {
	var decided string
	var errs field.ErrorList
	for i := range conditions {
		c := &conditions[i]
		switch c.Type {
		case certificatesv1beta1.PodCertificateRequestConditionTypeIssued, certificatesv1beta1.PodCertificateRequestConditionTypeDenied,
			certificatesv1beta1.PodCertificateRequestConditionTypeFailed:
		default:
			continue
		}
		if c.Status != metav1.ConditionTrue {
			errs = append(errs, field.NotSupported(at.Index(i).Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
		}
		if decided != "" {
			errs = append(errs, field.Invalid(at.Index(i).Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
		}
		decided = c.Type
	}
	return decided, errs
}

func podRequestColumns() []metav1.TableColumnDefinition {
	spec := certificatesv1beta1.PodCertificateRequestSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("PodName", spec, "podName"),
		table.Field("ServiceAccountName", spec, "serviceAccountName"),
		table.Field("NodeName", spec, "nodeName"),
		table.Field("SignerName", spec, "signerName"),
		table.String("State", "Pending, or how the request has ended: Issued, Denied or Failed."),
		table.Age(),
	}
}

func podRequestRow(r *podRequest, now metav1.Time) []any {
	state, _ := decision(nil, r.Status.Conditions)
	if state == "" {
		state = "Pending"
	}
	return []any{r.Name, r.Spec.PodName, r.Spec.ServiceAccountName, string(r.Spec.NodeName), r.Spec.SignerName, state, table.Since(r.CreationTimestamp, now)}
}
