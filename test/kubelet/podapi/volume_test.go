package podapi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func config(t *testing.T, name string, data map[string]string) {
	t.Helper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if _, err := n.Client.CoreV1().ConfigMaps("default").Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func patch(t *testing.T, what, name, doc string) {
	t.Helper()
	kubectl(t, "patch", what, name, "--type=merge", "-p", doc)
}

// ST-302f, ST-7d57, ST-67b5, ST-c697, ST-3fd1, ST-88fe, NO-b0ef, ST-fc27
func TestVolumesOfARunningPod(t *testing.T) {
	config(t, "settings", map[string]string{"color": "red", "size": "1"})
	if _, err := n.Client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string][]byte{"key": []byte("k1")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	host := filepath.Join(n.Dir, "host")
	p := create(t, "volumes", fmt.Sprintf(`
securityContext: {runAsUser: 1000, fsGroup: 1001}
volumes:
- {name: settings, configMap: {name: settings}}
- {name: keys, secret: {secretName: keys, defaultMode: 0440}}
- {name: info, downwardAPI: {items: [{path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}, {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}}
- {name: token, projected: {sources: [{serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}, {configMap: {name: settings, items: [{key: size, path: deep/size}]}}]}}
- {name: empty, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
- {name: host, hostPath: {path: %s, type: DirectoryOrCreate}}
containers:
- name: c
  args: [wait]
  resources: {limits: {cpu: 300m}}
  env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts:
  - {name: settings, mountPath: /settings}
  - {name: keys, mountPath: /keys}
  - {name: info, mountPath: /info}
  - {name: token, mountPath: /token}
  - {name: empty, mountPath: /empty}
  - {name: empty, mountPath: /own, subPathExpr: "logs/$(POD)"}
  - {name: settings, mountPath: /etc/passwd, subPath: color}
  - {name: memory, mountPath: /memory}
  - {name: host, mountPath: /host, readOnly: true}
- name: d
  args: [wait]
  volumeMounts:
  - {name: empty, mountPath: /shared}
`, host))
	ready(t, "volumes")
	if have := inside(t, "volumes", "cat", "/settings/color", "/keys/key", "/info/note", "/info/cpu", "/token/deep/size", "/etc/passwd"); have != "redk1first11red" {
		t.Errorf("the files hold %q", have)
	}
	if have := inside(t, "volumes", "id"); !strings.HasPrefix(have, "1000 0 [") || !strings.HasSuffix(have, "1001]\n") {
		t.Error(have)
	}
	inside(t, "volumes", "write", "/own/x", "mine")
	inside(t, "volumes", "write", "/memory/x", "mine")
	if have := kubectl(t, "exec", "volumes", "-c", "d", "--", "/bin/agent", "cat", "/shared/logs/volumes/x"); have != "mine" {
		t.Errorf("the other container sees %q", have)
	}
	for _, path := range []string{"/settings/new", "/keys/new", "/host/new", "/token/new"} {
		if out, err := n.Kubectl("exec", "volumes", "-c", "c", "--", "/bin/agent", "write", path, "x"); err == nil {
			t.Errorf("%s was written: %s", path, out)
		}
	}
	checkToken(t, p, inside(t, "volumes", "cat", "/token/token"))
	patch(t, "configmap", "settings", `{"data": {"color": "blue"}}`)
	patch(t, "secret", "keys", `{"stringData": {"key": "k2"}}`)
	patch(t, "pod", "volumes", `{"metadata": {"annotations": {"note": "second"}}}`)
	eventually(t, func() error {
		if have := inside(t, "volumes", "cat", "/settings/color", "/keys/key", "/info/note", "/etc/passwd"); have != "bluek2secondred" {
			return errors.New(have)
		}
		return nil
	})
	dir := filepath.Join(n.Root(), "pods", string(p.UID))
	if _, err := os.Stat(filepath.Join(dir, "volumes", "kubernetes.io~configmap", "settings", "color")); err != nil {
		t.Errorf("the volume is not where Kubernetes has it: %v", err)
	}
	kubectl(t, "delete", "pod", "volumes", "--wait")
	eventually(t, func() error {
		table, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(table), dir) {
			return fmt.Errorf("volumes are still mounted (%v)", err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			return fmt.Errorf("the pod's directory is still there (%v)", err)
		}
		return nil
	})
	if _, err := os.Stat(host); err != nil {
		t.Errorf("the host's directory is gone: %v", err)
	}
}

// checkToken has the API server look at a token of the pod.
func checkToken(t *testing.T, p *corev1.Pod, token string) {
	t.Helper()
	res, err := n.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{"vault"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := res.Status.User
	if !res.Status.Authenticated || u.Username != "system:serviceaccount:default:default" || fmt.Sprint(u.Extra["authentication.kubernetes.io/pod-uid"]) != "["+string(p.UID)+"]" {
		t.Errorf("%+v", res.Status)
	}
}

// A pod waits for what it names, and says so; optional things come and go.
func TestMissingObjects(t *testing.T) {
	p := create(t, "waits", `
volumes:
- {name: v, configMap: {name: later}}
- {name: o, secret: {secretName: perhaps, optional: true}}
containers:
- {name: c, args: [wait], volumeMounts: [{name: v, mountPath: /v}, {name: o, mountPath: /o}]}
`)
	event(t, p, "FailedMount", `MountVolume.SetUp failed for volume "v" : configmap "later" not found`)
	config(t, "later", map[string]string{"k": "v"})
	ready(t, "waits")
	if _, err := n.Client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "perhaps"}, StringData: map[string]string{"x": "y"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out, err := n.Kubectl("exec", "waits", "--", "/bin/agent", "cat", "/o/x")
		if err != nil || out != "y" {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})
	kubectl(t, "delete", "secret", "perhaps")
	eventually(t, func() error {
		if _, err := n.Kubectl("exec", "waits", "--", "/bin/agent", "exists", "/o/x"); err == nil {
			return errors.New("the file is still there")
		}
		return nil
	})
}

// NO-f0fa, NO-9716, NO-9993, NO-3b64, NO-00cc
func TestEnvironment(t *testing.T) {
	config(t, "env", map[string]string{"ONE": "1", "x.y": "z"})
	if _, err := n.Client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "fooservice"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 8765}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create(t, "env", `
restartPolicy: Never
containers:
- name: c
  args: [env]
  envFrom: [{prefix: "1-", configMapRef: {name: env}}]
  env:
  - {name: A, value: "[$(1-ONE)$(NONE)$$(A)]"}
  - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
  - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
`)
	p := until(t, "env", "it has succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	out := kubectl(t, "logs", "env")
	memory := get1(t).Status.Allocatable[corev1.ResourceMemory]
	for _, want := range []string{
		"1-ONE=1", "1-x.y=z", "A=[1$(NONE)$(A)]", "UID=" + string(p.UID), "IP=" + p.Status.PodIP, "HOST=" + p.Status.HostIP, fmt.Sprint("MEMORY=", memory.Value()),
		"KUBERNETES_SERVICE_PORT_HTTPS=443", "FOOSERVICE_SERVICE_PORT=8765", "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
	} {
		if !strings.Contains("\n"+out, "\n"+want+"\n") {
			t.Errorf("there is no %s in\n%s", want, out)
		}
	}
	for name, c := range map[string]struct{ container, message string }{
		"nokey":  {`{name: c, args: [env], env: [{name: X, valueFrom: {configMapKeyRef: {name: env, key: none}}}]}`, "couldn't find key none in ConfigMap default/env"},
		"nomap":  {`{name: c, args: [env], env: [{name: X, valueFrom: {configMapKeyRef: {name: none, key: none}}}]}`, `configmap "none" not found`},
		"rooted": {`{name: c, args: [env], env: [{name: X, value: /tmp}], volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(X)}]}`, "error SubPath `/tmp` must not be an absolute path"},
	} {
		create(t, name, "volumes: [{name: v, emptyDir: {}}]\ncontainers: ["+c.container+"]")
		until(t, name, "it says what is wrong", func(p *corev1.Pod) bool {
			if len(p.Status.ContainerStatuses) == 0 {
				return false
			}
			w := p.Status.ContainerStatuses[0].State.Waiting
			return w != nil && w.Reason == "CreateContainerConfigError" && w.Message == c.message
		})
	}
}

func get1(t *testing.T) *corev1.Node {
	t.Helper()
	o, err := n.Client.CoreV1().Nodes().Get(t.Context(), n.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A claim bound to a directory of the node: what is written stays.
func TestLocalClaim(t *testing.T) {
	data := filepath.Join(n.Dir, "data")
	if err := os.MkdirAll(data, 0o777); err != nil {
		t.Fatal(err)
	}
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	core := n.Client.CoreV1()
	none := ""
	claim, err := core.PersistentVolumeClaims("default").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "data", AccessModes: modes, StorageClassName: &none, Resources: corev1.VolumeResourceRequirements{Requests: size}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := `
volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
containers: [{name: c, args: [wait], volumeMounts: [{name: v, mountPath: /v}]}]
`
	p := create(t, "claims", spec)
	event(t, p, "FailedMount", "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC default/data: PVC is not bound")
	pv, err := core.PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: modes, ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "default", Name: "data", UID: claim.UID},
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: data}},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{n.Name}}},
		}}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// What the binder would do.
	pv.Status.Phase = corev1.VolumeBound
	if _, err := core.PersistentVolumes().UpdateStatus(t.Context(), pv, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	claim.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, AccessModes: modes, Capacity: size}
	if _, err := core.PersistentVolumeClaims("default").UpdateStatus(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ready(t, "claims")
	inside(t, "claims", "write", "/v/kept", "by the first")
	kubectl(t, "delete", "pod", "claims", "--wait")
	eventually(t, func() error {
		if _, err := core.Pods("default").Get(t.Context(), "claims", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the pod is still there: %w", err)
		}
		return nil
	})
	create(t, "again", spec)
	ready(t, "again")
	if have := inside(t, "again", "cat", "/v/kept"); have != "by the first" {
		t.Errorf("%q", have)
	}
	// Alerts on volumes that fill up look at these.
	eventually(t, func() error {
		metrics := kubectl(t, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/metrics")
		for _, want := range []string{
			`kubelet_volume_stats_available_bytes{namespace="default",persistentvolumeclaim="data"}`, `kubelet_volume_stats_inodes_free{namespace="default",persistentvolumeclaim="data"}`,
			`volume_manager_total_volumes{plugin_name="kubernetes.io/local-volume",state="actual_state_of_world"} 1`,
		} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("there is no %s", want)
			}
		}
		return nil
	})
}
