package codec

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// KindOf finds apiVersion and kind in a JSON document. Its error is how
// Kubernetes says that a body is not an object.
func KindOf(data []byte) (schema.GroupVersionKind, error) {
	found := struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
	}{}
	if err := json.Unmarshal(data, &found); err != nil {
		return schema.GroupVersionKind{}, fmt.Errorf("couldn't get version/kind; json parse error: %v", err)
	}
	gv, err := schema.ParseGroupVersion(found.APIVersion)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return gv.WithKind(found.Kind), nil
}

// InternalPackage is the Go package of a group's internal types in Kubernetes,
// which shows in some messages: "core", "apps", "rbac".
func InternalPackage(group string) string {
	switch group {
	case "", "events.k8s.io":
		return "core"
	case "internal.apiserver.k8s.io":
		return "apiserverinternal"
	}
	name, _, _ := strings.Cut(group, ".")
	return name
}

// KnownKind reports whether Kubernetes knows the kind at all, and the internal
// type it stands for ("core.Pod"). A body of such a kind in the wrong place is
// refused in other words than one of an unknown kind.
func KnownKind(gvk schema.GroupVersionKind) (known bool, internal string) {
	for _, k := range strings.Fields(kinds[gvk.GroupVersion().String()]) {
		if k == gvk.Kind || k+"List" == gvk.Kind {
			return true, InternalType(gvk)
		}
	}
	if _, served := kinds[gvk.GroupVersion().String()]; served {
		for _, k := range strings.Fields(everywhere) {
			if k == gvk.Kind {
				return true, "meta." + k
			}
		}
	}
	return false, ""
}

// InternalType names the internal Go type that a kind stands for, following
// kinds that moved between groups: "core.Pod".
func InternalType(gvk schema.GroupVersionKind) string {
	group := gvk.Group
	if gvk.Kind == "Scale" {
		return "autoscaling.Scale"
	}
	if group == "extensions" {
		group = "apps"
		if kind := strings.TrimSuffix(gvk.Kind, "List"); kind == "Ingress" || kind == "NetworkPolicy" {
			group = "networking"
		}
	}
	return InternalPackage(group) + "." + gvk.Kind
}

// everywhere are the kinds that every group version has.
const everywhere = "CreateOptions DeleteOptions GetOptions ListOptions PatchOptions UpdateOptions WatchEvent"

// kinds are the objects that Kubernetes' scheme knows, by group and version,
// served or not.
var kinds = map[string]string{
	"v1": "APIGroup APIGroupList APIResourceList APIVersions Binding ComponentStatus ConfigMap Endpoints Event LimitRange List Namespace Node " +
		"NodeProxyOptions PersistentVolume PersistentVolumeClaim Pod PodAttachOptions PodExecOptions PodLogOptions PodPortForwardOptions " +
		"PodProxyOptions PodStatusResult PodTemplate RangeAllocation ReplicationController ResourceQuota Secret SerializedReference " +
		"Service ServiceAccount ServiceProxyOptions Status",
	"admission.k8s.io/v1":      "AdmissionReview",
	"admission.k8s.io/v1beta1": "AdmissionReview",
	"admissionregistration.k8s.io/v1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration " +
		"ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
	"admissionregistration.k8s.io/v1alpha1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding",
	"admissionregistration.k8s.io/v1beta1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration " +
		"ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
	"apps/v1":                              "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
	"apps/v1beta1":                         "ControllerRevision Deployment DeploymentRollback Scale StatefulSet",
	"apps/v1beta2":                         "ControllerRevision DaemonSet Deployment ReplicaSet Scale StatefulSet",
	"authentication.k8s.io/v1":             "SelfSubjectReview TokenRequest TokenReview",
	"authentication.k8s.io/v1beta1":        "SelfSubjectReview TokenReview",
	"authorization.k8s.io/v1":              "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
	"authorization.k8s.io/v1beta1":         "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
	"autoscaling/v1":                       "HorizontalPodAutoscaler Scale",
	"autoscaling/v2":                       "HorizontalPodAutoscaler",
	"batch/v1":                             "CronJob Job",
	"batch/v1beta1":                        "CronJob",
	"certificates.k8s.io/v1":               "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
	"certificates.k8s.io/v1alpha1":         "ClusterTrustBundle",
	"certificates.k8s.io/v1beta1":          "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
	"coordination.k8s.io/v1":               "Lease",
	"coordination.k8s.io/v1alpha2":         "LeaseCandidate",
	"coordination.k8s.io/v1beta1":          "Lease LeaseCandidate",
	"discovery.k8s.io/v1":                  "EndpointSlice",
	"discovery.k8s.io/v1beta1":             "EndpointSlice",
	"events.k8s.io/v1":                     "Event",
	"events.k8s.io/v1beta1":                "Event",
	"extensions/v1beta1":                   "DaemonSet Deployment DeploymentRollback Ingress NetworkPolicy ReplicaSet Scale",
	"flowcontrol.apiserver.k8s.io/v1":      "FlowSchema PriorityLevelConfiguration",
	"flowcontrol.apiserver.k8s.io/v1beta1": "FlowSchema PriorityLevelConfiguration",
	"flowcontrol.apiserver.k8s.io/v1beta2": "FlowSchema PriorityLevelConfiguration",
	"flowcontrol.apiserver.k8s.io/v1beta3": "FlowSchema PriorityLevelConfiguration",
	"imagepolicy.k8s.io/v1alpha1":          "ImageReview",
	"internal.apiserver.k8s.io/v1alpha1":   "StorageVersion",
	"lifecycle.k8s.io/v1alpha1":            "Eviction EvictionRequest",
	"networking.k8s.io/v1":                 "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
	"networking.k8s.io/v1beta1":            "IPAddress Ingress IngressClass ServiceCIDR",
	"node.k8s.io/v1":                       "RuntimeClass",
	"node.k8s.io/v1alpha1":                 "RuntimeClass",
	"node.k8s.io/v1beta1":                  "RuntimeClass",
	"policy/v1":                            "Eviction PodDisruptionBudget",
	"policy/v1beta1":                       "Eviction PodDisruptionBudget",
	"rbac.authorization.k8s.io/v1":         "ClusterRole ClusterRoleBinding Role RoleBinding",
	"rbac.authorization.k8s.io/v1alpha1":   "ClusterRole ClusterRoleBinding Role RoleBinding",
	"rbac.authorization.k8s.io/v1beta1":    "ClusterRole ClusterRoleBinding Role RoleBinding",
	"resource.k8s.io/v1":                   "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice",
	"resource.k8s.io/v1alpha3":             "DeviceTaintRule ResourcePoolStatusRequest",
	"resource.k8s.io/v1beta1":              "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
	"resource.k8s.io/v1beta2":              "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice",
	"scheduling.k8s.io/v1":                 "PriorityClass",
	"scheduling.k8s.io/v1alpha3":           "CompositePodGroup PodGroup Workload",
	"scheduling.k8s.io/v1beta1":            "PodGroup PriorityClass Workload",
	"storage.k8s.io/v1":                    "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
	"storage.k8s.io/v1alpha1":              "CSIStorageCapacity VolumeAttachment VolumeAttributesClass",
	"storage.k8s.io/v1beta1":               "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
	"storagemigration.k8s.io/v1":           "StorageVersionMigration",
	"storagemigration.k8s.io/v1beta1":      "StorageVersionMigration",
}
