package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestParseName(t *testing.T) {
	for _, c := range []struct{ in, host, path, tag, tagged string }{
		{"busybox", "docker.io", "library/busybox", "", "busybox:latest"},
		{"foo/bar:1", "docker.io", "foo/bar", "1", "foo/bar:1"},
		{"localhost/x", "localhost", "x", "", "localhost/x:latest"},
		{"reg.io:5000/a/b:v1.2", "reg.io:5000", "a/b", "v1.2", "reg.io:5000/a/b:v1.2"},
		{"reg.io/a@sha256:" + strings.Repeat("a", 64), "reg.io", "a", "", "reg.io/a@sha256:" + strings.Repeat("a", 64)},
		{"[::1]:5000/a", "[::1]:5000", "a", "", "[::1]:5000/a:latest"},
	} {
		n, err := ParseName(c.in)
		if err != nil || n.Host != c.host || n.Path != c.path || n.Tag != c.tag {
			t.Errorf("%s: %v %v", c.in, n, err)
		}
		if got, err := WithTag(c.in); got != c.tagged || err != nil {
			t.Errorf("%s: %s %v", c.in, got, err)
		}
	}
	for _, bad := range []string{"", "Upper", "a b", "a:", "a:b:c/", "a@sha256:x", "-a", "reg.io/", "a//b", "reg_io:x/a", strings.Repeat("a", 300)} {
		if n, err := ParseName(bad); err == nil {
			t.Errorf("%q is %v", bad, n)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("reg.io:5000/a/b:v1.2@sha256:aa")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseName(s); err == nil && (n.Host == "" || n.Path == "") {
			t.Errorf("%q has no host or path: %v", s, n)
		}
	})
}

func TestKeyring(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	k, errs := KeyringOf([]*corev1.Secret{
		{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{
			"https://index.docker.io/v1/":{"username":"docker","password":"d"},
			"reg.io":{"auth":"` + auth + `"}, "reg.io/team":{"username":"team","password":"t"}, "*.cloud.io":{"username":"glob","password":"g"}}}`)}},
		{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"old.io:5000":{"username":"old","password":"o"}}`)}},
		{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":"hunter2"}`)}},
		{Type: corev1.SecretTypeOpaque},
	})
	if len(errs) != 1 || strings.Contains(errs[0].Error(), "hunter2") {
		t.Errorf("errors %v", errs)
	}
	for image, want := range map[string]string{
		"busybox": "docker", "reg.io/app": "user", "reg.io/team/app:1": "team user", "eu.cloud.io/x": "glob", "a.b.cloud.io/x": "", "old.io:5000/x": "old", "other.io/x": "",
	} {
		var got []string
		for _, a := range k.Lookup(image) {
			got = append(got, a.Username)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q", image, got, want)
		}
	}
	if a := k.Lookup("reg.io/app")[0]; a.Password != "pass:word" {
		t.Errorf("password %q", a.Password)
	}
}

// registry is an image service whose pulls fail as often as told.
type registry struct {
	runtimeapi.ImageServiceClient
	have  map[string]bool
	fails int
	pulls []string // user names
}

func (r *registry) ImageStatus(_ context.Context, in *runtimeapi.ImageStatusRequest, _ ...grpc.CallOption) (*runtimeapi.ImageStatusResponse, error) {
	out := &runtimeapi.ImageStatusResponse{}
	if r.have[in.Image.Image] {
		out.Image = &runtimeapi.Image{Id: "sha256:1", Size: 7}
	}
	return out, nil
}

func (r *registry) PullImage(_ context.Context, in *runtimeapi.PullImageRequest, _ ...grpc.CallOption) (*runtimeapi.PullImageResponse, error) {
	r.pulls = append(r.pulls, in.Auth.GetUsername())
	if r.fails > 0 {
		r.fails--
		return nil, errors.New("no such image")
	}
	r.have[in.Image.Image] = true
	return &runtimeapi.PullImageResponse{ImageRef: "sha256:1"}, nil
}

// Failed pulls are repeated after growing pauses; between them the pod is
// told to wait.
func TestPullPauses(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &registry{have: map[string]bool{}, fails: 3}
	p := NewPuller(r, Options{Now: func() time.Time { return now }})
	var events []string
	want := Want{Image: "a", Policy: corev1.PullIfNotPresent, Pod: "uid", Event: func(_, reason, message string) { events = append(events, reason+": "+message) }}
	reasons := ""
	for range 40 {
		_, err := p.Ensure(t.Context(), want)
		var e *Error
		switch {
		case err == nil:
			reasons += "ok "
		case errors.As(err, &e):
			reasons += fmt.Sprintf("%s@%ds ", e.Reason, now.Unix()%3600)
		default:
			t.Fatal(err)
		}
		if err == nil {
			break
		}
		now = now.Add(5 * time.Second)
	}
	if got, want := strings.Count(reasons, "ErrImagePull"), 3; got != want {
		t.Errorf("%d pulls failed: %s", got, reasons)
	}
	for _, at := range []string{"ErrImagePull@0s", "ErrImagePull@10s", "ErrImagePull@30s", "ImagePullBackOff@35s"} {
		if !strings.Contains(reasons, at) {
			t.Errorf("no %s in %s", at, reasons)
		}
	}
	if !strings.HasSuffix(reasons, "ok ") || now.Unix()%3600 != 70 {
		t.Errorf("it ended at %d: %s", now.Unix()%3600, reasons)
	}
	for _, e := range []string{`Pulling: Pulling image "a"`, `Failed: Failed to pull image "a": no such image`, `BackOff: Back-off pulling image "a"`, `Pulled: Successfully pulled image "a" in 0s (0s including waiting). Image size: 7 bytes.`} {
		if !strings.Contains(strings.Join(events, "\n"), e) {
			t.Errorf("no event %q among %q", e, events)
		}
	}
}

// A password that was corrected is tried at once; the rest of a secret does not
// matter, nor in which order it is read.
func TestPullPauseEndsWithNewCredentials(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &registry{have: map[string]bool{}, fails: 5}
	p := NewPuller(r, Options{Now: func() time.Time { return now }})
	user := func(host, name string) entry { return entry{host: host, auth: &runtimeapi.AuthConfig{Username: name}} }
	for _, c := range []struct {
		keys  Keyring
		after time.Duration
		want  string
	}{
		{nil, 0, "ErrImagePull []"},
		{nil, time.Second, "ImagePullBackOff []"},
		{Keyring{user("other.io", "x")}, 0, "ImagePullBackOff []"},
		{Keyring{user("reg.io", "a"), user("reg.io", "b")}, 0, "ErrImagePull [a b]"},
		{Keyring{user("reg.io", "b"), user("other.io", "x"), user("reg.io", "a")}, 19 * time.Second, "ImagePullBackOff []"},
		{Keyring{user("reg.io", "b"), user("reg.io", "a")}, time.Second, "ErrImagePull [b a]"}, // the second pause was of twenty seconds
		{Keyring{user("reg.io", "c")}, 0, "<nil> [c]"},
	} {
		now, r.pulls = now.Add(c.after), nil
		read := 0
		_, err := p.Ensure(t.Context(), Want{Image: "reg.io/a:1", Pod: "uid", Event: func(string, string, string) {}, Keys: func() Keyring {
			read++
			return c.keys
		}})
		got := "<nil>"
		var e *Error
		if errors.As(err, &e) {
			got = e.Reason
		}
		if got = fmt.Sprint(got, " ", slices.DeleteFunc(r.pulls, func(s string) bool { return s == "" })); got != c.want || read != 1 {
			t.Errorf("%v after %v: %s, want %s; credentials were read %d times", c.keys, c.after, got, c.want, read)
		}
	}
}

// Credentials are tried in turn.
func TestPullCredentials(t *testing.T) {
	r := &registry{have: map[string]bool{}, fails: 1}
	p := NewPuller(r, Options{Node: Keyring{{host: "reg.io", auth: &runtimeapi.AuthConfig{Username: "node"}}}})
	_, err := p.Ensure(t.Context(), Want{Image: "reg.io/a:1", Pod: "uid", Event: func(string, string, string) {}, Keys: func() Keyring {
		return Keyring{{host: "reg.io", auth: &runtimeapi.AuthConfig{Username: "pod"}}}
	}})
	if err != nil || strings.Join(r.pulls, " ") != "pod node" {
		t.Errorf("tried %v: %v", r.pulls, err)
	}
}

func TestChoose(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	items := []Item{
		{ID: "used", Size: 10, InUse: true, Seen: ago(time.Hour)},
		{ID: "pinned", Size: 10, Pinned: true, Seen: ago(time.Hour)},
		{ID: "young", Size: 10, Seen: ago(time.Minute)},
		{ID: "recent", Size: 10, Seen: ago(time.Hour), Used: ago(10 * time.Minute)},
		{ID: "stale", Size: 10, Seen: ago(time.Hour), Used: ago(50 * time.Minute)},
		{ID: "never", Size: 10, Seen: ago(30 * time.Minute)},
	}
	for _, c := range []struct {
		free int64
		old  time.Duration
		want string
	}{
		{0, 0, ""}, {1, 0, "never"}, {11, 0, "never stale"}, {1000, 0, "never stale recent"}, {0, 40 * time.Minute, "stale"},
	} {
		var got []string
		for _, i := range Choose(items, c.free, Policy{Young: 2 * time.Minute, Old: c.old}, now) {
			got = append(got, i.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("free %d, old %v: %v, want %q", c.free, c.old, got, c.want)
		}
	}
}
