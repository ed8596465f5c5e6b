package noderestriction

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func node(name string, edit ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}
	for _, e := range edit {
		e(n)
	}
	return n
}

func pod(name, on string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name, UID: types.UID("uid-" + name)}, Spec: corev1.PodSpec{
		NodeName: on, Containers: []corev1.Container{{Name: "c"}},
	}}
	for _, e := range edit {
		e(p)
	}
	return p
}

// mirror is a pod that node a may show, changed by edit.
func mirror(edit ...func(*corev1.Pod)) *corev1.Pod {
	yes := true
	return pod("m", "a", append([]func(*corev1.Pod){func(p *corev1.Pod) {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "a", UID: "uid-a", Controller: &yes}}
	}}, edit...)...)
}

func volume(s corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: s}} }
}

func labels(pairs ...string) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Labels = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			n.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func token(audience string, ref *authenticationv1.BoundObjectReference) *authenticationv1.TokenRequest {
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref}}
	if audience != "" {
		r.Spec.Audiences = []string{audience}
	}
	return r
}

func bound(name, uid string) *authenticationv1.BoundObjectReference {
	return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: name, UID: types.UID(uid)}
}

func signingRequest(t *testing.T, signer, cn string) *certificatesv1.CertificateSigningRequest {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn, Organization: []string{nodesGroup}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	}}
}

func TestRules(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "s", UID: "uid-s"}}
	asking := volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "u", Audience: "vault"}},
	}}})
	w := admissiontest.New(t, node("a"), node("b"), account, pod("mine", "a", asking), pod("other", "b"),
		pod("disk", "a", volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}})),
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v"}},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d"}}}},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: "disks"}}}},
	)
	may := admissiontest.Authorizer{"system:node:a request-serviceaccounts-token-audience allowed s": true}
	p := New(w.Store, w.Store, may, w.Resource)
	yes := true
	lease := func(ns, name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
	slice := func(on string) *resourcev1.ResourceSlice {
		return &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{NodeName: &on}}
	}
	claim := func(edit ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}}
		for _, e := range edit {
			e(c)
		}
		return c
	}
	for _, x := range []struct {
		name string
		r    *admissiontest.Request
		want string
	}{
		{"mirror", w.Create(mirror()), ""},
		{"not a mirror", w.Create(pod("p", "a")), `pod does not have "kubernetes.io/config.mirror" annotation, node "a" can only create mirror pods`},
		{"on another node", w.Create(mirror(func(p *corev1.Pod) { p.Spec.NodeName = "b" })), `node "a" can only create pods with spec.nodeName set to itself`},
		{"no owner", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences = nil })), `node "a" can only create pods with an owner reference set to itself`},
		{"two owners", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences = append(p.OwnerReferences, p.OwnerReferences[0]) })), `node "a" can only create pods with a single owner reference set to itself`},
		{"another owner", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences[0].Name = "b" })), `node "a" can only create pods with an owner reference set to itself`},
		{"not the controller", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil })), `node "a" can only create pods with a controller owner reference set to itself`},
		{"blocks", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences[0].BlockOwnerDeletion = &yes })), `node "a" must not set blockOwnerDeletion on an owner reference`},
		{"old uid", w.Create(mirror(func(p *corev1.Pod) { p.OwnerReferences[0].UID = "z" })), `node a UID mismatch: expected z got uid-a`},
		{"account", w.Create(mirror(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "s" })), `node "a" can not create pods that reference serviceaccounts`},
		{"secret", w.Create(mirror(volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}))), `node "a" can not create pods that reference secrets`},
		{"env secret", w.Create(mirror(func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{}}}}}}
		})), `node "a" can not create pods that reference secrets`},
		{"config map", w.Create(mirror(volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}))), `node "a" can not create pods that reference configmaps`},
		{"claim", w.Create(mirror(volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}))), `node "a" can not create pods that reference persistentvolumeclaims`},
		{"token", w.Create(mirror(asking)), `node "a" can not create pods that reference serviceaccounts (via projected volumes)`},
		{"resource claim", w.Create(mirror(func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{}} })), `node "a" can not create pods that reference resourceclaims`},
		{"host path", w.Create(mirror(volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}))), ""},
		{"delete", w.Delete(pod("mine", "a")), ""},
		{"delete another's", w.Delete(pod("other", "b")), `node "a" can only delete pods with spec.nodeName set to itself`},
		{"update", w.Update(pod("mine", "a"), pod("mine", "a"), ""), `unexpected operation "UPDATE", node "a" can only create and delete mirror pods`},
		{"status", w.Update(pod("mine", "a"), pod("mine", "a"), "status"), ""},
		{"another's status", w.Update(pod("other", "b"), pod("other", "b"), "status"), `node "a" can only update pod status for pods with spec.nodeName set to itself`},
		{"labels through status", w.Update(pod("mine", "a", func(p *corev1.Pod) { p.Labels = map[string]string{"k": "v"} }), pod("mine", "a"), "status"), `node "a" cannot update labels through pod status`},
		{"claims through status", w.Update(pod("mine", "a", func(p *corev1.Pod) { p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{}} }), pod("mine", "a"), "status"), `node "a" cannot update resource claim statuses`},
		{"evict", w.Sub(pod("mine", "a"), "eviction", &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}), ""},
		{"evict another's", w.Sub(pod("other", "b"), "eviction", &policyv1.Eviction{}), `node a can only evict pods with spec.nodeName set to itself`},
		{"evict by a false name", w.Sub(pod("mine", "a"), "eviction", &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "other"}}), `eviction of pod "other" was sent to pod "mine"`},
		{"resize", w.Update(pod("mine", "a"), pod("mine", "a"), "resize"), `unexpected pod subresource "resize", only 'status' and 'eviction' are allowed`},

		{"node", w.Create(node("a", labels("kubernetes.io/hostname", "a", "node.kubernetes.io/x", "1", "x.kubelet.kubernetes.io/y", "", "example.com/z", ""))), ""},
		{"another node", w.Create(node("b")), `node "a" is not allowed to modify node "b"`},
		{"label", w.Create(node("a", labels("node-restriction.kubernetes.io/x", "1"))), `node "a" is not allowed to set the following labels: node-restriction.kubernetes.io/x`},
		{"label of k8s.io", w.Create(node("a", labels("x.k8s.io/y", "1", "k8s.io/z", "1"))), `node "a" is not allowed to set the following labels: k8s.io/z, x.k8s.io/y`},
		{"label removed", w.Update(node("a"), node("a", labels("node-role.kubernetes.io/x", "1")), "status"), `is not allowed to modify labels: node-role.kubernetes.io/x`},
		{"label kept", w.Update(node("a", labels("node-role.kubernetes.io/x", "1")), node("a", labels("node-role.kubernetes.io/x", "1")), ""), ""},
		{"taints", w.Update(node("a", func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k"}} }), node("a"), ""), `node "a" is not allowed to modify taints`},
		{"taints removed", w.Update(node("a"), node("a", func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k"}} }), "status"), `node "a" is not allowed to modify taints`},
		{"owner", w.Update(node("a", func(n *corev1.Node) { n.OwnerReferences = []metav1.OwnerReference{{Name: "x"}} }), node("a"), ""), `node "a" is not allowed to modify ownerReferences`},
		{"config source", w.Update(node("a", func(n *corev1.Node) { n.Spec.ConfigSource = &corev1.NodeConfigSource{} }), node("a"), ""), `cannot update configSource to a new non-nil configSource`},

		{"claim's spec", w.Update(claim(), claim(), ""), "may only update PVC status"},
		{"claim's capacity", w.Update(claim(func(c *corev1.PersistentVolumeClaim) { c.Status.Capacity = corev1.ResourceList{"storage": {}} }), claim(), "status"), ""},
		{"claim's phase", w.Update(claim(func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost }), claim(), "status"), `node "a" is not allowed to update fields other than status.capacity and status.conditions`},

		{"token of its pod", w.Sub(account, "token", token("vault", bound("mine", "uid-mine"))), ""},
		{"default audience", w.Sub(account, "token", token("", bound("mine", "uid-mine"))), ""},
		{"audience of a driver", w.Sub(account, "token", token("disks", bound("disk", "uid-disk"))), ""},
		{"audience by permission", w.Sub(account, "token", token("allowed", bound("mine", "uid-mine"))), ""},
		{"another audience", w.Sub(account, "token", token("no", bound("mine", "uid-mine"))), `audience "no" not found in pod spec volume, system:node:a is not authorized to request tokens for this audience`},
		{"not bound", w.Sub(account, "token", token("", nil)), "node requested token not bound to a pod"},
		{"bound to a secret", w.Sub(account, "token", token("", &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "x"})), "node requested token not bound to a pod"},
		{"no uid", w.Sub(account, "token", token("", bound("mine", ""))), "node requested token with a pod binding without a uid"},
		{"another pod's", w.Sub(account, "token", token("", bound("other", "uid-other"))), "node requested token bound to a pod scheduled on a different node"},
		{"no such pod", w.Sub(account, "token", token("", bound("none", "x"))), `pods "none" not found`},

		{"lease", w.Create(lease("kube-node-lease", "a")), ""},
		{"another's lease", w.Create(lease("kube-node-lease", "b")), "can only access node lease with the same name as the requesting node"},
		{"lease elsewhere", w.Create(lease("x", "a")), `can only access leases in the "kube-node-lease" system namespace`},
		{"CSINode", w.Delete(&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "b"}}), "can only access CSINode with the same name as the requesting node"},
		{"slice", w.Create(slice("a")), ""},
		{"another's slice", w.Create(slice("b")), "can only create ResourceSlice with the same NodeName as the requesting node"},
		{"takes a slice", w.Update(slice("a"), slice("b"), ""), "can only update ResourceSlice with the same NodeName as the requesting node"},
		{"deletes a slice", w.Delete(slice("b")), "can only delete ResourceSlice with the same NodeName as the requesting node"},

		{"certificate", w.Create(signingRequest(t, certificatesv1.KubeletServingSignerName, "system:node:a")), ""},
		{"another's certificate", w.Create(signingRequest(t, certificatesv1.KubeAPIServerClientKubeletSignerName, "system:node:b")), "can only create a node CSR with CN=system:node:a"},
		{"another signer", w.Create(signingRequest(t, "example.com/x", "any")), ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			admissiontest.Refused(t, admissiontest.Run(p, x.r.As("system:node:a", nodesGroup)), x.want)
			// Others are none of this plugin's business.
			admissiontest.Refused(t, admissiontest.Run(p, x.r.As("system:node:a")), "")
			admissiontest.Refused(t, admissiontest.Run(p, x.r.As("alice", nodesGroup)), "")
		})
	}
	admissiontest.Refused(t, admissiontest.Run(p, w.Create(node("a")).As("system:node:", nodesGroup)), `could not determine node from user "system:node:"`)
}

func TestPodCertificates(t *testing.T) {
	w := admissiontest.New(t, node("a"), pod("p", "a", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "s" }),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "s", UID: "uid-s"}})
	p := New(w.Store, w.Store, admissiontest.Authorizer{}, w.Resource)
	for name, edit := range map[string]func(*certificatesv1beta1.PodCertificateRequestSpec){
		"":                func(*certificatesv1beta1.PodCertificateRequestSpec) {},
		"another node":    func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.NodeName = "b" },
		"node uid":        func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.NodeUID = "z" },
		"pod uid":         func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.PodUID = "z" },
		"no pod":          func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.PodName = "z" },
		"another account": func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.ServiceAccountName = "z" },
		"account uid":     func(s *certificatesv1beta1.PodCertificateRequestSpec) { s.ServiceAccountUID = "z" },
	} {
		r := &certificatesv1beta1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "r"}, Spec: certificatesv1beta1.PodCertificateRequestSpec{
			NodeName: "a", NodeUID: "uid-a", PodName: "p", PodUID: "uid-p", ServiceAccountName: "s", ServiceAccountUID: "uid-s",
		}}
		edit(&r.Spec)
		if err := admissiontest.Run(p, w.Create(r).As("system:node:a", nodesGroup)); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
