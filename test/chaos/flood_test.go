package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/test/apiservertest"
	"xebec.dev/test/clientca"
)

// TestFlood: one user writes with many more requests at once than the server
// takes. Some of his are refused; the nodes' leases, which are unary calls of
// users of their own, are not.
func TestFlood(t *testing.T) {
	const places, writers, nodes, renewals = 10, 400, 10, 20
	s := apiservertest.Start(t, fmt.Sprintf("--max-mutating-requests-inflight=%d", places))
	ca, err := clientca.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(user string, groups ...string) *client.Client {
		t.Helper()
		config := client.Config{Server: s.URL, CAFile: filepath.Join(s.Dir, "pki", "ca.crt")}
		if config.CertData, config.KeyData, err = ca.Sign(user, groups...); err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial(config, builtin.Scheme(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // it may be closed
		return c
	}
	admin := dial("root", "system:masters")
	if _, err := client.Create(t.Context(), admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "greedy"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "greedy"}},
	}); err != nil {
		t.Fatal(err)
	}
	greedy := []*client.Client{dial("greedy"), dial("greedy"), dial("greedy"), dial("greedy")} // a connection carries only so many calls
	eventually(t, time.Minute, "the binding is heard of", func() bool {
		_, err := client.Get[*corev1.Namespace](t.Context(), greedy[0], "", "default")
		return err == nil
	})
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var written, refused atomic.Int64
	for i := range writers {
		c := greedy[i%len(greedy)]
		flood.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := client.Create(ctx, c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("m%d-%d", i, n)}}, client.WriteOptions{OmitObject: true})
				switch {
				case err == nil:
					written.Add(1)
				case apierrors.IsTooManyRequests(err):
					refused.Add(1)
					time.Sleep(10 * time.Millisecond)
				case ctx.Err() == nil:
					t.Errorf("a write of the flood: %v", err)
				}
			}
		})
	}
	eventually(t, time.Minute, "the flood is there", func() bool { return written.Load() > writers && refused.Load() > 0 })
	var renewing sync.WaitGroup
	var slowest atomic.Int64
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i)
		c := dial("system:node:"+name, "system:nodes")
		renewing.Go(func() {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &name}}
			var err error
			if _, err = client.Create(ctx, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err == nil {
				lease, err = client.Create(ctx, c, lease)
			}
			for range renewals {
				if err != nil {
					t.Errorf("%s amid the flood: %v", name, err)
					return
				}
				began := time.Now()
				now := metav1.NowMicro()
				lease = lease.DeepCopy()
				lease.Spec.RenewTime = &now
				lease, err = client.Update(ctx, c, lease)
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			}
		})
	}
	renewing.Wait()
	stop()
	flood.Wait()
	t.Logf("%d writes of the flood and %d refused; the slowest of %d renewals took %v", written.Load(), refused.Load(), nodes*renewals, time.Duration(slowest.Load()))
}
