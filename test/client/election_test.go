package client

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"xebec.dev/client/election"
	"xebec.dev/test/apiservertest"
)

// Times of the election, short for a test and in Kubernetes' proportions.
const (
	leaseDuration = 3 * time.Second
	renewDeadline = 2 * time.Second
	retryPeriod   = 400 * time.Millisecond
)

// TestElectionWithClientGo: one of ours and one of client-go's stand for one
// lease, and hand it over in both directions.
func TestElectionWithClientGo(t *testing.T) {
	s := apiservertest.Start(t, options...)
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	theirs := kubernetes.NewForConfigOrDie(cfg)
	var ourTurn, theirTurn atomic.Bool
	ours := func(ctx context.Context) error {
		e, err := election.New(election.Over(dial(t, s)), election.Options{
			Namespace: "kube-system", Name: "shared", Identity: "ours",
			LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		})
		if err != nil {
			return err
		}
		return e.Run(ctx, func(ctx context.Context) error {
			ourTurn.Store(true)
			<-ctx.Done()
			ourTurn.Store(false)
			return ctx.Err()
		})
	}
	their := func(ctx context.Context, release bool) {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "shared"}, Client: theirs.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: "theirs"},
			},
			LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: release,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) { theirTurn.Store(true) },
				OnStoppedLeading: func() { theirTurn.Store(false) },
			},
		})
	}
	start := func(f func(ctx context.Context)) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f(ctx) }()
		return func() { cancel(); <-done }
	}
	wait := func(what string, within time.Duration, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
			if ourTurn.Load() && theirTurn.Load() {
				t.Fatal("both lead")
			}
			if time.Now().After(deadline) {
				t.Fatalf("not within %s: %s", within, what)
			}
		}
	}
	runOurs := func(ctx context.Context) {
		if err := ours(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("our election ended with %v", err)
		}
	}

	stopOurs := start(runOurs)
	wait("we lead", 5*time.Second, ourTurn.Load)
	stopTheirs := start(func(ctx context.Context) { their(ctx, true) })
	time.Sleep(leaseDuration * 3 / 2) // renewals keep them out
	if theirTurn.Load() || !ourTurn.Load() {
		t.Fatal("client-go took a lease that was renewed")
	}
	stopOurs()
	wait("client-go leads once we released", leaseDuration, theirTurn.Load)

	stopOurs = start(runOurs)
	time.Sleep(leaseDuration * 3 / 2)
	if ourTurn.Load() || !theirTurn.Load() {
		t.Fatal("we took a lease that was renewed")
	}
	stopTheirs()
	wait("we lead once client-go released", leaseDuration, ourTurn.Load)
	stopOurs()

	lease, err := theirs.CoordinationV1().Leases("kube-system").Get(t.Context(), "shared", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := lease.Spec.LeaseTransitions; n == nil || *n != 2 {
		t.Errorf("leaseTransitions %v, want 2", n)
	}
	// A client-go that ends without releasing is waited for.
	stopTheirs = start(func(ctx context.Context) { their(ctx, false) })
	wait("client-go leads", leaseDuration, theirTurn.Load)
	stopTheirs()
	began := time.Now()
	stopOurs = start(runOurs)
	wait("we lead when their lease has run out", 4*leaseDuration, ourTurn.Load)
	if d := time.Since(began); d < leaseDuration-time.Second {
		t.Errorf("we took a lease after %s that had %s to run", d, leaseDuration)
	}
	stopOurs()
}
