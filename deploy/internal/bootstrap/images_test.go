package bootstrap

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/deploy/internal/kubeadm"
)

// images is a runtime that has some, and can pull all but one.
type images struct {
	runtimeapi.UnimplementedImageServiceServer
	mu     sync.Mutex
	there  map[string]bool
	pulled []string
}

func (s *images) ImageStatus(_ context.Context, r *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.there[r.GetImage().GetImage()] {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: &runtimeapi.Image{Id: "x"}}, nil
}

func (s *images) PullImage(_ context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.GetImage().GetImage()
	if strings.Contains(name, "nowhere") {
		return nil, status.Error(codes.NotFound, "there is no such image")
	}
	s.pulled = append(s.pulled, name)
	return &runtimeapi.PullImageResponse{ImageRef: name}, nil
}

func serveImages(t *testing.T, there ...string) (*images, string) {
	t.Helper()
	s := &images{there: map[string]bool{}}
	for _, name := range there {
		s.there[name] = true
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtimeapi.RegisterImageServiceServer(server, s)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	return s, "unix://" + socket
}

func TestImagesArePulledAsAsked(t *testing.T) {
	no := false
	for _, c := range []struct {
		policy corev1.PullPolicy
		serial *bool
		want   string
	}{{corev1.PullIfNotPresent, nil, "b"}, {corev1.PullAlways, nil, "a b"}, {corev1.PullAlways, &no, "a b"}, {corev1.PullNever, nil, ""}} {
		s, socket := serveImages(t, "a")
		p := pullsOf(&kubeadm.NodeRegistration{CRISocket: socket, ImagePullPolicy: c.policy, ImagePullSerial: c.serial})
		if err := p.pull(t.Context(), []string{"a", "b"}); err != nil {
			t.Errorf("%s: %v", c.policy, err)
		}
		slices.Sort(s.pulled)
		if got := strings.Join(s.pulled, " "); got != c.want {
			t.Errorf("%s: pulled %q, expected %q", c.policy, got, c.want)
		}
	}
	s, socket := serveImages(t)
	err := pullsOf(&kubeadm.NodeRegistration{CRISocket: socket}).pull(t.Context(), []string{"nowhere1", "a", "nowhere2"})
	if err == nil || !strings.Contains(err.Error(), "nowhere1") || !strings.Contains(err.Error(), "nowhere2") || len(s.pulled) != 1 {
		t.Errorf("images that cannot be had: %v", err)
	}
}

// TestNeededImages: addons that are not installed need none.
func TestNeededImages(t *testing.T) {
	i, out := newInit(t)
	if got := strings.Join(i.needed(), " "); !strings.Contains(got, "kube-proxy") || !strings.Contains(got, "coredns") || !strings.Contains(got, "etcd") {
		t.Errorf("images: %s", got)
	}
	i.Config.SkipPhases = []string{"addon/coredns"}
	if got := strings.Join(i.needed(), " "); !strings.Contains(got, "kube-proxy") || strings.Contains(got, "coredns") {
		t.Errorf("images: %s", got)
	}
	i.Config.SkipPhases = []string{"addon"}
	if got := strings.Join(i.needed(), " "); strings.Contains(got, "kube-proxy") || i.Cluster.Proxy.Disabled {
		t.Errorf("images: %s", got)
	}
	i.DryRun = true
	if err := i.imageCheck(i.needed).Run(t.Context()); err != nil || !strings.Contains(out.String(), "Would pull") {
		t.Errorf("a dry run: %v %s", err, out)
	}
}

// TestExternalEtcdIsAsked where it serves HTTP.
func TestExternalEtcdIsAsked(t *testing.T) {
	serve := func(v string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/version" {
				http.NotFound(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"etcdserver": v, "etcdcluster": v})
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	good, old, odd := serve("3.6.1"), serve("3.4.9"), serve("x")
	for _, c := range []struct {
		e    kubeadm.ExternalEtcd
		want string
	}{
		{kubeadm.ExternalEtcd{Endpoints: []string{good, good + "/"}}, ""},
		{kubeadm.ExternalEtcd{Endpoints: []string{good, old}}, "Current version: 3.4.9"},
		{kubeadm.ExternalEtcd{Endpoints: []string{odd}}, "couldn't parse external etcd version"},
		{kubeadm.ExternalEtcd{Endpoints: []string{"http://127.0.0.1:1"}, HTTPEndpoints: []string{good}}, ""},
		{kubeadm.ExternalEtcd{Endpoints: []string{good}, HTTPEndpoints: []string{old}}, "3.4.9"},
		{kubeadm.ExternalEtcd{Endpoints: []string{good}, CAFile: "/none"}, "etcd.external.caFile"},
		{kubeadm.ExternalEtcd{Endpoints: []string{good}, CertFile: "/none", KeyFile: "/none"}, "certFile"},
	} {
		err := externalEtcd(t.Context(), &c.e)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, expected %q", c.e, err, c.want)
		}
	}
}
