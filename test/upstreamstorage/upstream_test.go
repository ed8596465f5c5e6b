package upstreamstorage

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"k8s.io/apimachinery/pkg/runtime"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	upstream "k8s.io/apiserver/pkg/storage/testing"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/watchcache"
)

// differs are cases of upstream's lists that are not promises of its API;
// README.md has the reasons.
const differs = "TestUpstream/List/" +
	"(List_with_continue,_resource_version_before_first_write" +
	"|set_before_first_write,_match=Exact" +
	"|filter_returning_two_items,_more_pages_possible" +
	"|filter_returning_only_one_item,_ensure_only_a_single_page)"

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.skip").Value.String() == "" {
		if err := flag.Set("test.skip", differs); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// fixture is a store over an etcd of its own.
type fixture struct {
	*adapter
	kv pb.KVClient
}

func start(t *testing.T, namespaced bool) *fixture {
	t.Helper()
	server, err := embedded.Start(t.TempDir(), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	r := pods(namespaced)
	s := watchcache.New(etcd.Over(server.Services(), etcd.Config{}), []*scheme.Resource{r}, watchcache.Options{Wait: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); s.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v", s.Ready(ctx))
		}
	}
	// A cache that was just filled writes once, to have a revision that it
	// knows all of. Upstream's tests count revisions from here.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if r, err := s.CurrentRevision(ctx); err == nil && r > 1 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("at revision %d: %v", r, err)
		}
	}
	a := &adapter{c: s.Collection(r), namespaced: namespaced, revision: s.CurrentRevision}
	return &fixture{adapter: a, kv: server.Services().KV}
}

// stored checks that a value in etcd is as Kubernetes writes it.
func (f *fixture) stored(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	r, err := f.kv.Range(ctx, &pb.RangeRequest{Key: []byte("/registry" + key)})
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("%s in etcd: %v, %v", key, r, err)
	}
	body, ok := bytes.CutPrefix(r.Kvs[0].Value, []byte("k8s\x00"))
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(body); !ok || err != nil {
		t.Fatalf("the value is not in an envelope: %v", err)
	}
	var pod examplev1.Pod
	if err := pod.Unmarshal(unknown.Raw); err != nil {
		t.Fatal(err)
	}
	if pod.ResourceVersion != "" || pod.Name == "" {
		t.Errorf("stored: %v", &pod)
	}
}

func (f *fixture) compact(ctx context.Context, t *testing.T, rv string) {
	t.Helper()
	revision, err := strconv.ParseInt(rv, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// A compaction moves etcd's revision on in Kubernetes: it writes a key.
	f.increase(ctx, t)
	if _, err := f.kv.Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) increase(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	r, err := f.kv.Put(ctx, &pb.PutRequest{Key: []byte("increaseRV"), Value: []byte("ok")})
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// UpdatePrefixTransformer changes nothing: objects are decrypted as they come
// into memory, not as they are read.
func (f *fixture) UpdatePrefixTransformer(modify upstream.PrefixTransformerModifier) func() {
	modify(upstream.NewPrefixTransformer(nil, false))
	return func() {}
}

func TestUpstream(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, t *testing.T, f *fixture)
	}{
		{"Create", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestCreate(ctx, t, f, f.stored) }},
		{"CreateWithTTL", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestCreateWithTTL(ctx, t, f) }},
		{"CreateWithKeyExist", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestCreateWithKeyExist(ctx, t, f) }},
		{"Get", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestGet(ctx, t, f) }},
		{"UnconditionalDelete", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestUnconditionalDelete(ctx, t, f) }},
		{"ConditionalDelete", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestConditionalDelete(ctx, t, f) }},
		{"DeleteWithSuggestion", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestDeleteWithSuggestion(ctx, t, f) }},
		{"DeleteWithSuggestionAndConflict", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestDeleteWithSuggestionAndConflict(ctx, t, f)
		}},
		{"DeleteWithConflict", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestDeleteWithConflict(ctx, t, f) }},
		{"DeleteWithSuggestionOfDeletedObject", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestDeleteWithSuggestionOfDeletedObject(ctx, t, f)
		}},
		{"ValidateDeletionWithSuggestion", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestValidateDeletionWithSuggestion(ctx, t, f)
		}},
		{"ValidateDeletionWithOnlySuggestionValid", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestValidateDeletionWithOnlySuggestionValid(ctx, t, f)
		}},
		{"PreconditionalDeleteWithSuggestion", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestPreconditionalDeleteWithSuggestion(ctx, t, f)
		}},
		{"PreconditionalDeleteWithOnlySuggestionPass", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestPreconditionalDeleteWithOnlySuggestionPass(ctx, t, f)
		}},
		{"List", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestList(ctx, t, f, f.compact, true, upstream.NewKubernetesRecorder(nil))
		}},
		{"ConsistentList", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestConsistentList(ctx, t, f, f.increase, true, true, true)
		}},
		{"GetListNonRecursive", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestGetListNonRecursive(ctx, t, f.increase, f)
		}},
		{"GetListRecursivePrefix", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestGetListRecursivePrefix(ctx, t, f) }},
		{"ListContinuation", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestListContinuation(ctx, t, f, anyCalls)
		}},
		{"ListPaginationRareObject", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestListPaginationRareObject(ctx, t, f, anyCalls)
		}},
		{"ListContinuationWithFilter", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestListContinuationWithFilter(ctx, t, f, anyCalls)
		}},
		{"ListPaging", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestListPaging(ctx, t, f) }},
		{"NamespaceScopedList", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestNamespaceScopedList(ctx, t, f) }},
		{"GuaranteedUpdate", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestGuaranteedUpdate(ctx, t, f, f.stored)
		}},
		{"ListResourceVersionMatch", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestListResourceVersionMatch(ctx, t, f)
		}},
		{"GuaranteedUpdateWithTTL", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestGuaranteedUpdateWithTTL(ctx, t, f)
		}},
		{"GuaranteedUpdateWithConflict", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestGuaranteedUpdateWithConflict(ctx, t, f)
		}},
		{"GuaranteedUpdateWithSuggestionAndConflict", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestGuaranteedUpdateWithSuggestionAndConflict(ctx, t, f)
		}},
		{"KeySchema", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestKeySchema(ctx, t, f) }},
		{"Watch", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestWatch(ctx, t, f) }},
		{"WatchFromZero", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestWatchFromZero(ctx, t, f, nil) }},
		{"DeleteTriggerWatch", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestDeleteTriggerWatch(ctx, t, f) }},
		{"WatchFromNonZero", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestWatchFromNonZero(ctx, t, f) }},
		{"DelayedWatchDelivery", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestDelayedWatchDelivery(ctx, t, f) }},
		{"WatchContextCancel", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestWatchContextCancel(ctx, t, f) }},
		{"WatcherTimeout", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestWatcherTimeout(ctx, t, f) }},
		{"WatchDeleteEventObjectHaveLatestRV", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestWatchDeleteEventObjectHaveLatestRV(ctx, t, f)
		}},
		{"NamespaceScopedWatch", func(ctx context.Context, t *testing.T, f *fixture) { upstream.RunTestNamespaceScopedWatch(ctx, t, f) }},
		{"WatchDispatchBookmarkEvents", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestWatchDispatchBookmarkEvents(ctx, t, f, true)
		}},
		{"WatchBookmarksWithCorrectResourceVersion", func(ctx context.Context, t *testing.T, f *fixture) {
			upstream.RunTestOptionalWatchBookmarksWithCorrectResourceVersion(ctx, t, f)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t.Context(), t, start(t, true)) })
	}
	t.Run("ClusterScopedWatch", func(t *testing.T) { upstream.RunTestClusterScopedWatch(t.Context(), t, start(t, false)) })
}

// anyCalls: how often etcd is read is not ours to count: lists come from
// memory.
func anyCalls(*testing.T, uint64, uint64) {}
