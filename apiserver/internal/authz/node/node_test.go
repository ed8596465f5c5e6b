package node

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

func meta(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

func ref(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

// pod uses one of everything, each named after the way it is used.
func pod(node string) *corev1.Pod {
	container := func(suffix string) corev1.Container {
		return corev1.Container{
			Env: []corev1.EnvVar{
				{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("env" + suffix)}}},
				{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("env" + suffix)}}},
			},
			EnvFrom: []corev1.EnvFromSource{
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref("from" + suffix)}},
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("from" + suffix)}},
			},
		}
	}
	e := container("-ephemeral")
	claim, generated := "claim", "generated"
	volume := func(name string, s corev1.VolumeSource) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: s}
	}
	return &corev1.Pod{
		ObjectMeta: meta("ns", "pod-"+node),
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "sa", ImagePullSecrets: []corev1.LocalObjectReference{ref("pull")},
			Containers: []corev1.Container{container("")}, InitContainers: []corev1.Container{container("-init")},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Env: e.Env, EnvFrom: e.EnvFrom}}},
			ResourceClaims:      []corev1.PodResourceClaim{{Name: "a", ResourceClaimName: &claim}},
			Volumes: []corev1.Volume{
				volume("1", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}),
				volume("2", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref("volume")}}),
				volume("3", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{Secret: &corev1.SecretProjection{LocalObjectReference: ref("projected")}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: ref("projected")}},
				}}}),
				volume("4", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}),
				volume("5", corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "pvc"}}),
				volume("6", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}),
			},
		},
		Status: corev1.PodStatus{ResourceClaimStatuses: []corev1.PodResourceClaimStatus{{Name: "b", ResourceClaimName: &generated}}},
	}
}

func cluster() []scheme.Object {
	a, other := "a", "other"
	mirror := pod("a")
	mirror.Name, mirror.Annotations = "mirror", map[string]string{corev1.MirrorPodAnnotationKey: "1"}
	mirror.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref("mirrored")}
	return []scheme.Object{
		pod("a"), mirror,
		&corev1.Pod{ObjectMeta: meta("ns", "elsewhere"), Spec: corev1.PodSpec{NodeName: "b", ImagePullSecrets: []corev1.LocalObjectReference{ref("elsewhere")}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta("ns", "pvc"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}},
		&corev1.PersistentVolume{ObjectMeta: meta("", "pv"), Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "pvc"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				NodeStageSecretRef: &corev1.SecretReference{Namespace: "vault", Name: "stage"},
			}},
		}},
		&corev1.PersistentVolume{ObjectMeta: meta("", "loose")},
		&storagev1.VolumeAttachment{ObjectMeta: meta("", "va"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "a"}},
		&storagev1.VolumeAttachment{ObjectMeta: meta("", "vb"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "b"}},
		&resourcev1.ResourceSlice{ObjectMeta: meta("", "slice"), Spec: resourcev1.ResourceSliceSpec{NodeName: &a}},
		&resourcev1.ResourceSlice{ObjectMeta: meta("", "others"), Spec: resourcev1.ResourceSliceSpec{NodeName: &other}},
	}
}

const unrelated = "no relationship found between node 'a' and this object"

// Each line: verb resource[.group][/sub] [ns/]name [?fieldSelector]: "yes", or
// the reason.
var table = `
get secrets ns/volume: yes
list secrets ns/volume: yes
watch secrets ns/volume: yes
get secrets ns/projected: yes
get secrets ns/env: yes
get secrets ns/env-init: yes
get secrets ns/env-ephemeral: yes
get secrets ns/from: yes
get secrets ns/from-init: yes
get secrets ns/from-ephemeral: yes
get secrets ns/pull: yes
get secrets ns/csi: yes
get secrets vault/stage: yes
get secrets ns/stage: UNRELATED
get secrets ns/mirrored: UNRELATED
get secrets ns/elsewhere: UNRELATED
get secrets other/volume: UNRELATED
get secrets ns/nothing: UNRELATED
list secrets ns/: No Object name found
list secrets: can only read namespaced object of this type
get secrets/x ns/volume: cannot read subresource
create secrets ns/: can only read resources of this type
update secrets ns/volume: can only read resources of this type
patch secrets ns/volume: can only read resources of this type
delete secrets ns/volume: can only read resources of this type
deletecollection secrets ns/: can only read resources of this type
get configmaps ns/volume: yes
watch configmaps ns/projected: yes
get configmaps ns/env-init: yes
get configmaps ns/from-ephemeral: yes
get configmaps ns/pull: UNRELATED
list configmaps ns/: No Object name found
create configmaps ns/: can only read resources of this type
get persistentvolumeclaims ns/pvc: yes
get persistentvolumeclaims ns/pod-a-6: yes
get persistentvolumeclaims ns/other: UNRELATED
list persistentvolumeclaims ns/pvc: can only get individual resources of this type
update persistentvolumeclaims ns/pvc: can only get individual resources of this type
get persistentvolumeclaims/x ns/pvc: cannot get subresource
patch persistentvolumeclaims/status ns/pvc: yes
update persistentvolumeclaims/status ns/other: UNRELATED
delete persistentvolumeclaims/status ns/pvc: can only get/update/patch this type
get persistentvolumes /pv: yes
get persistentvolumes /loose: UNRELATED
get persistentvolumes /none: UNRELATED
list persistentvolumes: can only get individual resources of this type
get resourceclaims.resource.k8s.io ns/claim: yes
get resourceclaims.resource.k8s.io ns/generated: yes
get resourceclaims.resource.k8s.io ns/other: UNRELATED
list resourceclaims.resource.k8s.io ns/claim: can only get individual resources of this type
get volumeattachments.storage.k8s.io /va: yes
get volumeattachments.storage.k8s.io /vb: UNRELATED
create volumeattachments.storage.k8s.io: can only get individual resources of this type
create serviceaccounts/token ns/sa: yes
create serviceaccounts/token ns/other: UNRELATED
create serviceaccounts/token other/sa: UNRELATED
get serviceaccounts ns/sa: yes
get serviceaccounts ns/other: UNRELATED
list serviceaccounts ns/: can only create tokens for individual service accounts
create serviceaccounts ns/: can only create tokens for individual service accounts
get leases.coordination.k8s.io kube-node-lease/a: yes
create leases.coordination.k8s.io kube-node-lease/: yes
update leases.coordination.k8s.io kube-node-lease/a: yes
patch leases.coordination.k8s.io kube-node-lease/a: yes
delete leases.coordination.k8s.io kube-node-lease/a: yes
get leases.coordination.k8s.io kube-node-lease/b: can only access node lease with the same name as the requesting node
get leases.coordination.k8s.io ns/a: can only access leases in the "kube-node-lease" system namespace
list leases.coordination.k8s.io kube-node-lease/: can only get, create, update, patch, or delete a node lease
create csinodes.storage.k8s.io: yes
patch csinodes.storage.k8s.io /a: yes
get csinodes.storage.k8s.io /b: can only access CSINode with the same name as the requesting node
list csinodes.storage.k8s.io: can only get, create, update, patch, or delete a CSINode
create resourceslices.resource.k8s.io: yes
get resourceslices.resource.k8s.io /slice: yes
delete resourceslices.resource.k8s.io /slice: yes
update resourceslices.resource.k8s.io /others: UNRELATED
list resourceslices.resource.k8s.io ?spec.nodeName=a: yes
deletecollection resourceslices.resource.k8s.io ?spec.nodeName=a: yes
watch resourceslices.resource.k8s.io ?spec.nodeName=b: can only list/watch/deletecollection resourceslices with nodeName field selector
list resourceslices.resource.k8s.io: can only list/watch/deletecollection resourceslices with nodeName field selector
create podcertificaterequests.certificates.k8s.io ns/: yes
watch podcertificaterequests.certificates.k8s.io ?spec.nodeName=a: yes
list podcertificaterequests.certificates.k8s.io: can only list/watch PodCertificateRequests with nodeName field selector
get podcertificaterequests.certificates.k8s.io ns/x: UNRELATED
update podcertificaterequests.certificates.k8s.io/status ns/x: nodes may not access the status subresource of PodCertificateRequests
create nodes: yes
get nodes /a: yes
list nodes /a: yes
watch nodes /a: yes
update nodes /b: yes
patch nodes /a: yes
patch nodes/status /a: yes
get nodes /b: node 'a' cannot read 'b', only its own Node object
list nodes: node 'a' cannot read all nodes, only its own Node object
delete nodes /a:
get nodes/proxy /a:
get nodes/status /a:
get pods ns/pod-a: yes
list pods ns/pod-a: yes
get pods ns/elsewhere: UNRELATED
list pods ns/ ?spec.nodeName=a: yes
watch pods ?spec.nodeName=a: yes
watch pods ?spec.nodeName!=a: can only list/watch pods with spec.nodeName field selector
watch pods ?spec.nodeName=b: can only list/watch pods with spec.nodeName field selector
list pods: can only list/watch pods with spec.nodeName field selector
create pods ns/: yes
delete pods ns/elsewhere: yes
update pods/status ns/elsewhere: yes
get pods/status ns/pod-a:
patch pods ns/pod-a:
create pods/eviction ns/pod-a: yes
create pods/exec ns/pod-a:
deletecollection pods ns/:
create tokenreviews.authentication.k8s.io: yes
create subjectaccessreviews.authorization.k8s.io: yes
create localsubjectaccessreviews.authorization.k8s.io ns/: yes
create selfsubjectaccessreviews.authorization.k8s.io:
list services: yes
create services ns/:
get endpoints ns/x: yes
list endpoints ns/:
create events ns/: yes
patch events.events.k8s.io ns/x: yes
list events ns/:
create certificatesigningrequests.certificates.k8s.io: yes
watch certificatesigningrequests.certificates.k8s.io: yes
update certificatesigningrequests.certificates.k8s.io/approval /x:
list csidrivers.storage.k8s.io: yes
get runtimeclasses.node.k8s.io /x: yes
watch clustertrustbundles.certificates.k8s.io: yes
list namespaces:
list replicasets.apps ns/:
`

func ask(q string) *request.Info {
	a := &request.Info{IsResource: true}
	if q, a.FieldSelector, _ = strings.Cut(q, "?"); a.FieldSelector != "" {
		q = strings.TrimSpace(q)
	}
	f := strings.Fields(q)
	a.Verb = f[0]
	resource, sub, _ := strings.Cut(f[1], "/")
	a.Subresource = sub
	a.Resource, a.Group, _ = strings.Cut(resource, ".")
	if len(f) > 2 {
		a.Namespace, a.Name, _ = strings.Cut(f[2], "/")
	}
	return a
}

func TestTable(t *testing.T) {
	z := New(authztest.NewReader(cluster()...), authztest.Scheme())
	u := &request.User{Name: "system:node:a", Groups: []string{"system:nodes", "system:authenticated"}}
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		q, want, _ := strings.Cut(line, ":")
		if want = strings.TrimSpace(want); want == "UNRELATED" {
			want = unrelated
		}
		d, reason, err := z.Authorize(context.Background(), u, ask(q))
		if err != nil {
			t.Errorf("%s: %v", q, err)
		}
		got := reason
		if d == authz.Allow {
			got = "yes"
		}
		if d == authz.Deny || got != want {
			t.Errorf("%s: %v %q, want %q", q, d, got, want)
		}
	}
}

// A third node, which has nothing, gets nothing that the first one is linked to.
func TestOtherNode(t *testing.T) {
	z := New(authztest.NewReader(cluster()...), authztest.Scheme())
	u := &request.User{Name: "system:node:c", Groups: []string{"system:nodes"}}
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		q, want, _ := strings.Cut(line, ":")
		a := ask(q)
		if strings.TrimSpace(want) != "yes" || a.Name == "" && a.FieldSelector == "" {
			continue
		}
		always := a.Resource == "nodes" && (a.Verb == "update" || a.Verb == "patch") || a.Resource == "pods" && (a.Subresource != "" || a.Verb == "delete") ||
			oneOf(a.Resource, "events", "endpoints", "runtimeclasses")
		if d, _, _ := z.Authorize(context.Background(), u, a); (d == authz.Allow) != always {
			t.Errorf("%s: %v", q, d)
		}
	}
}

func TestIdentity(t *testing.T) {
	z := New(authztest.NewReader(), authztest.Scheme())
	a := ask("get nodes /a")
	for _, c := range []struct {
		user, group, reason string
		allow               bool
	}{
		{"system:node:a", "system:nodes", "", true},
		{"system:node:a", "other", "", false},
		{"a", "system:nodes", "", false},
		{"system:node:", "system:nodes", `unknown node for user "system:node:"`, false},
	} {
		d, reason, _ := z.Authorize(context.Background(), &request.User{Name: c.user, Groups: []string{c.group}}, a)
		if (d == authz.Allow) != c.allow || reason != c.reason {
			t.Errorf("%s in %s: %v %q", c.user, c.group, d, reason)
		}
	}
	if d, _, _ := z.Authorize(context.Background(), &request.User{Name: "system:node:a", Groups: []string{"system:nodes"}}, &request.Info{Path: "/metrics", Verb: "get"}); d != authz.NoOpinion {
		t.Error("a path was allowed")
	}
}
