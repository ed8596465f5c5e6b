package clienttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

// Env is a server under test.
type Env struct {
	// Client makes a client with a connection of its own.
	Client func(t testing.TB) *client.Client
	// Stop breaks all connections and Start serves again, with all objects.
	Stop, Start func()
	// Compact makes the server forget changes up to now, so that watches from
	// before expire.
	Compact func()
}

// Restart is Stop and Start.
func (e *Env) Restart() { e.Stop(); e.Start() }

// Run is the conformance suite: what every server of the contract does.
func Run(t *testing.T, start func(t *testing.T) *Env) {
	for _, part := range []struct {
		name  string
		tests map[string]func(t *testing.T, e *Env)
	}{
		{"verbs", verbTests}, {"batch", batchTests}, {"watch", watchTests}, {"replica", replicaTests}, {"faults", faultTests},
	} {
		t.Run(part.name, func(t *testing.T) {
			shared := start(t)
			for name, test := range part.tests {
				t.Run(name, func(t *testing.T) { test(t, shared) })
			}
		})
	}
}

// bound is how long anything may take.
const bound = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
}

// namespace makes one for the test.
func namespace(t testing.TB, c *client.Client) string {
	t.Helper()
	ns, err := client.Create(testContext(t), c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"}})
	if err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	return ns.Name
}

func configMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": value}}, Data: map[string]string{"value": value}}
}

func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/image:1"}}},
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually waits for a condition of the outside world.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("object-%04d", i)
	}
	return out
}
