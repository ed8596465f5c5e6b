package image

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// punched is an image service that notes when it is asked to pull.
type punched struct {
	runtimeapi.ImageServiceClient

	mu   sync.Mutex
	at   []time.Time // guarded by mu
	have map[string]bool
}

func (p *punched) ImageStatus(_ context.Context, in *runtimeapi.ImageStatusRequest, _ ...grpc.CallOption) (*runtimeapi.ImageStatusResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.have[in.Image.Image] {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: &runtimeapi.Image{Id: in.Image.Image}}, nil
}

func (p *punched) PullImage(_ context.Context, in *runtimeapi.PullImageRequest, _ ...grpc.CallOption) (*runtimeapi.PullImageResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.have[in.Image.Image] = append(p.at, time.Now()), true
	return &runtimeapi.PullImageResponse{}, nil
}

// Pulls begin no faster than they may; those that wait are not refused, and
// those that nobody wants any more wait no longer.
func TestPullRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &punched{have: map[string]bool{}}
		p := NewPuller(service, Options{PerSecond: 5, Burst: 10})
		pull := func(ctx context.Context, n int) error {
			_, err := p.Ensure(ctx, Want{Image: fmt.Sprintf("i:%d", n), Policy: corev1.PullIfNotPresent, Pod: fmt.Sprint(n), Event: func(string, string, string) {}})
			return err
		}
		began := time.Now()
		var group sync.WaitGroup
		for n := range 30 {
			group.Go(func() {
				if err := pull(t.Context(), n); err != nil {
					t.Errorf("pull %d: %v", n, err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("10 pulls and 20 more, 5 a second, took %v", took)
		}
		for i := range service.at {
			if want := max(0, i-9) * 200; service.at[i].Sub(began) != time.Duration(want)*time.Millisecond {
				t.Errorf("pull %d began after %v, not %d ms", i, service.at[i].Sub(began), want)
			}
		}
		bounded, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := pull(bounded, 30); bounded.Err() == nil || err == nil {
			t.Errorf("a pull that nobody waits for: %v", err)
		}
		time.Sleep(time.Hour) // what is saved up is a burst and no more
		began, service.at = time.Now(), nil
		for n := 40; n < 52; n++ {
			if err := pull(t.Context(), n); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 400*time.Millisecond {
			t.Errorf("12 pulls after a pause took %v", took)
		}
	})
}

func TestNoPullRate(t *testing.T) {
	if err := newRate(0, 10).turn(t.Context(), time.Now()); err != nil || newRate(0, 10) != nil {
		t.Error("0 is a limit")
	}
}

// Those that give up waiting leave their turns to others.
func TestPullRateGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRate(1, 1)
		if err := r.turn(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			if r.turn(gone, time.Now()) == nil {
				t.Fatal("one that has gone had a turn")
			}
		}
		began := time.Now()
		if err := r.turn(t.Context(), began); err != nil || time.Since(began) != time.Second {
			t.Errorf("the next waited %v: %v", time.Since(began), err)
		}
	})
}
