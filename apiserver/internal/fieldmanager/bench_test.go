package fieldmanager

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
)

const podJSON = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d9f8c7b6-abcde","namespace":"prod","generateName":"web-5d9f8c7b6-",
"labels":{"app":"web","pod-template-hash":"5d9f8c7b6","tier":"front"},"annotations":{"prometheus.io/scrape":"true"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d9f8c7b6","uid":"11111111-2222-3333-4444-555555555555","controller":true,"blockOwnerDeletion":true}]},
"spec":{"volumes":[{"name":"cfg","configMap":{"name":"web","defaultMode":420}},{"name":"token","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}],"defaultMode":420}}],
"containers":[{"name":"web","image":"nginx:1.27","ports":[{"name":"http","containerPort":80,"protocol":"TCP"},{"containerPort":443,"protocol":"TCP"}],
"env":[{"name":"A","value":"1"},{"name":"B","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],
"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
"volumeMounts":[{"name":"cfg","mountPath":"/etc/web"},{"name":"token","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
"livenessProbe":{"httpGet":{"path":"/healthz","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],
"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default",
"securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true,
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]},
"status":{"phase":"Pending"}}`

func podManager(tb testing.TB) (*Manager, *corev1.Pod) {
	tb.Helper()
	s, ok := builtin.Scheme().At(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	if !ok {
		tb.Fatal("no pods")
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal([]byte(podJSON), pod); err != nil {
		tb.Fatal(err)
	}
	return New(s, NewTypes()), pod
}

func BenchmarkCreate(b *testing.B) {
	m, pod := podManager(b)
	now := time.Now()
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pod.SetManagedFields(nil)
			if !m.createFast(pod, "bench", now) {
				b.Fatal("not walked")
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pod.SetManagedFields(nil)
			empty, _ := m.conv.New(m.kind())
			if err := m.update(empty, pod, "bench", "", now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStatusUpdate(b *testing.B) {
	m, pod := podManager(b)
	now := time.Now()
	if err := m.Create(pod, "bench", now); err != nil {
		b.Fatal(err)
	}
	pod.UID = "u"
	next := pod.DeepCopy()
	next.Status.PodIP = "10.0.0.1"
	next.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}}
	next.Status.Conditions = []corev1.PodCondition{{Type: "Ready", Status: "True"}, {Type: "PodScheduled", Status: "True"}}
	third := next.DeepCopy()
	if err := m.Update(pod, third, "kubelet", "status", now); err != nil {
		b.Fatal(err)
	}
	fourth := third.DeepCopy()
	fourth.Status.Conditions[0].Status = "False"
	for name, do := range map[string]func(live, obj scheme.Object) bool{
		"walk":    func(live, obj scheme.Object) bool { return m.updateFast(live, obj, "kubelet", "status", now) },
		"library": func(live, obj scheme.Object) bool { return m.update(live, obj, "kubelet", "status", now) == nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fourth.SetManagedFields(nil)
				if !do(third, fourth) {
					b.Fatal("not done")
				}
			}
		})
	}
}

func BenchmarkFirstUse(b *testing.B) {
	for b.Loop() {
		m, pod := podManager(b)
		if !m.createFast(pod, "bench", time.Now()) {
			b.Fatal("not walked")
		}
	}
}

func BenchmarkApply(b *testing.B) {
	m, pod := podManager(b)
	now := time.Now()
	patch := []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d9f8c7b6-abcde","labels":{"x":"y"}},"spec":{"containers":[{"name":"web","image":"nginx:1.28"}]}}`)
	if err := m.Create(pod, "bench", now); err != nil {
		b.Fatal(err)
	}
	pod.UID = "u"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Apply(pod, patch, "m", true, "", now); err != nil {
			b.Fatal(err)
		}
	}
}
