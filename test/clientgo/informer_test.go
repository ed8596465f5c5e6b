// Package clientgo has client-go, unmodified, as the judge: informers, leader
// election, the dynamic and metadata clients.
package clientgo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"xebec.dev/test/apiservertest"
)

func configOf(t *testing.T, s *apiservertest.Server) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1
	return config
}

// requests counts what an informer asks for.
type requests struct {
	watchLists, lists atomic.Int64
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(q *http.Request) (*http.Response, error) {
		switch query := q.URL.Query(); {
		case q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, "/configmaps"):
		case query.Get("sendInitialEvents") == "true":
			r.watchLists.Add(1)
		case query.Get("watch") == "":
			r.lists.Add(1)
		}
		return next.RoundTrip(q)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

func write(t *testing.T, c kubernetes.Interface, name, value string) {
	t.Helper()
	maps := c.CoreV1().ConfigMaps("default")
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"value": value}}, Data: map[string]string{"v": value}}
	_, err := maps.Update(t.Context(), cm, metav1.UpdateOptions{})
	if err != nil {
		_, err = maps.Create(t.Context(), cm, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestInformer follows changes over a watch-list, in JSON and protobuf, and
// over a restart of the server.
func TestInformer(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t)
	for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(strings.TrimPrefix(contentType, "application/"), func(t *testing.T) {
			config := configOf(t, s)
			config.ContentType = contentType
			var seen requests
			config.Wrap(seen.wrap)
			c := kubernetes.NewForConfigOrDie(config)
			for i := range 50 {
				write(t, c, fmt.Sprintf("c%02d", i), "first")
			}
			factory := informers.NewSharedInformerFactory(c, 0)
			informer := factory.Core().V1().ConfigMaps()
			var added, deleted atomic.Int64
			if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
				AddFunc:    func(any) { added.Add(1) },
				DeleteFunc: func(any) { deleted.Add(1) },
			}); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			var once sync.Once
			end := func() { once.Do(func() { close(stop); factory.Shutdown() }) }
			defer end()
			factory.Start(stop)
			factory.WaitForCacheSync(stop)
			if seen.watchLists.Load() == 0 || seen.lists.Load() != 0 {
				t.Errorf("%d watch-lists and %d lists", seen.watchLists.Load(), seen.lists.Load())
			}
			lister := informer.Lister().ConfigMaps("default")
			has := func(value string, n int) func() bool {
				return func() bool {
					l, err := lister.List(labels.SelectorFromSet(labels.Set{"value": value}))
					return err == nil && len(l) == n
				}
			}
			eventually(t, "50 objects", has("first", 50))
			for i := range 20 {
				write(t, c, fmt.Sprintf("c%02d", i), "second")
			}
			eventually(t, "20 changed", has("second", 20))
			s.Stop(t)
			s.Run(t)
			write(t, c, "c49", "third")
			eventually(t, "a change after the restart", has("third", 1))
			if err := c.CoreV1().ConfigMaps("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all gone", func() bool { return deleted.Load() >= 50 })
		})
	}
}

func TestDynamicAndMetadata(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t)
	config := configOf(t, s)
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	d, m := dynamic.NewForConfigOrDie(config), metadata.NewForConfigOrDie(config)
	objects := dynamicinformer.NewDynamicSharedInformerFactory(d, 0)
	metas := metadatainformer.NewSharedInformerFactory(m, 0)
	o, p := objects.ForResource(resource), metas.ForResource(resource)
	o.Informer()
	p.Informer()
	stop := make(chan struct{})
	defer close(stop)
	objects.Start(stop)
	metas.Start(stop)
	objects.WaitForCacheSync(stop)
	metas.WaitForCacheSync(stop)
	cm := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "d"}, "data": map[string]any{"a": "b"}}}
	if _, err := d.Resource(resource).Namespace("default").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both informers", func() bool {
		_, err := o.Lister().ByNamespace("default").Get("d")
		_, err2 := p.Lister().ByNamespace("default").Get("d")
		return err == nil && err2 == nil
	})
	got, err := m.Resource(resource).Namespace("default").Get(t.Context(), "d", metav1.GetOptions{})
	if err != nil || got.UID == "" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLeaderElection has two candidates: one leads, and the other after it.
func TestLeaderElection(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t)
	c := kubernetes.NewForConfigOrDie(configOf(t, s))
	leading := make(chan string, 2)
	var wg sync.WaitGroup
	cancels := map[string]context.CancelFunc{}
	for _, id := range []string{"one", "two"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancels[id] = cancel
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock:          &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "lock", Namespace: "default"}, Client: c.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: id}},
			LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 200 * time.Millisecond, ReleaseOnCancel: true, Name: "lock",
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { leading <- id }, OnStoppedLeading: func() {}},
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { elector.Run(ctx) })
	}
	first := <-leading
	select {
	case second := <-leading:
		t.Fatalf("%s and %s lead", first, second)
	case <-time.After(time.Second):
	}
	cancels[first]()
	if second := <-leading; second == first {
		t.Errorf("%s leads again", second)
	}
	for _, cancel := range cancels {
		cancel()
	}
	wg.Wait()
}
