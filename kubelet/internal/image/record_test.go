package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// keysOf are those of a secret with one password for reg.io.
func keysOf(t *testing.T, uid types.UID, password string) func() Keyring {
	t.Helper()
	k, errs := KeyringOf([]*corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: uid}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"reg.io":{"username":"user","password":"` + password + `"}}}`)}}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return func() Keyring { return k }
}

func records(t *testing.T, dir string, policy Verification, allow ...string) *Records {
	t.Helper()
	r, err := OpenRecords(dir, policy, allow)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Who may use an image that is there: who has shown what opens it.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	r := records(t, dir, NeverVerifyPreloaded)
	mine, rotated, copied, other := keysOf(t, "1", "a"), keysOf(t, "1", "b"), keysOf(t, "2", "a"), keysOf(t, "3", "c")
	const image, id = "reg.io/team/app:1", "sha256:1"
	if !r.Open(image, id, nil) {
		t.Error("an image that was there before needs no credentials")
	}
	if err := r.begin(image); err != nil {
		t.Fatal(err)
	}
	if r.Open(image, id, mine) {
		t.Error("nobody knows yet what opens it")
	}
	if r := records(t, dir, NeverVerifyPreloaded); r.Open(image, id, mine) {
		t.Error("a pull that a kubelet did not end says nothing of what opens the image")
	}
	if err := r.done(image, id, mine()[0].source); err != nil {
		t.Fatal(err)
	}
	check := func(r *Records, when string) {
		t.Helper()
		for name, c := range map[string]struct {
			keys func() Keyring
			want bool
		}{"the same secret": {mine, true}, "the same secret with another password": {rotated, true}, "another secret with the same password": {copied, true},
			"another": {other, false}, "none": {nil, false}} {
			if have := r.Open(image, id, c.keys); have != c.want {
				t.Errorf("%s: %s: %t", when, name, have)
			}
		}
		if r.Open("reg.io/other/app:1", id, mine) {
			t.Errorf("%s: the same image by a name that was not opened", when)
		}
		if !r.Open("reg.io/team/app:2", id, mine) {
			t.Errorf("%s: the same image by another tag", when)
		}
	}
	check(r, "at once")
	r = records(t, dir, NeverVerifyPreloaded)
	check(r, "after a restart")
	all := records(t, dir, NeverVerify)
	if !all.Open(image, id, nil) {
		t.Error("NeverVerify verifies")
	}
	if err := r.begin(image); err != nil {
		t.Fatal(err)
	}
	if err := r.done(image, id, nil); err != nil || !r.Open(image, id, nil) {
		t.Error("an image that opens without credentials is for all", err)
	}
	if err := r.forget(id); err != nil || !r.Open(image, id, nil) {
		t.Error(err)
	}
	for _, sub := range []string{"pulled", "pulling"} {
		if left, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v %v", sub, left, err)
		}
	}
}

func TestPreloaded(t *testing.T) {
	always := records(t, t.TempDir(), AlwaysVerify)
	if always.Open("reg.io/a", "id", nil) {
		t.Error("AlwaysVerify does not verify")
	}
	some := records(t, t.TempDir(), NeverVerifyAllowlisted, "reg.io/base/*", "reg.io/one")
	for image, want := range map[string]bool{"reg.io/base/os:1": true, "reg.io/one": true, "reg.io/one/more": false, "reg.io/two": false, "reg.io/basement": false} {
		if have := some.Open(image, "id", nil); have != want {
			t.Errorf("%s: %t", image, have)
		}
	}
}

// A pod without the secret does not get at what another's secret opened.
func TestPullIsVerified(t *testing.T) {
	dir := t.TempDir()
	r := &registry{have: map[string]bool{}}
	p := NewPuller(r, Options{Records: records(t, dir, NeverVerifyPreloaded)})
	var events []string
	want := Want{Image: "reg.io/a:1", Policy: corev1.PullIfNotPresent, Pod: "1", Keys: keysOf(t, "1", "a"), Event: func(_, reason, message string) { events = append(events, reason+" "+message) }}
	for range 2 {
		if _, err := p.Ensure(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.pulls) != 1 {
		t.Errorf("whoever pulled it pulls again: %v", r.pulls)
	}
	want.Pod, want.Keys = "2", nil
	r.fails = 1
	if _, err := p.Ensure(t.Context(), want); err == nil || len(r.pulls) != 2 {
		t.Errorf("the image is used without what opens it: %v, pulls %v", err, r.pulls)
	}
	want.Pod, want.Policy = "3", corev1.PullNever
	const never = `Container image "reg.io/a:1" is present with pull policy of Never but does not have the proper auth (image secret) that was used to pull the image`
	if _, err := p.Ensure(t.Context(), want); err == nil || err.Error() != never || !strings.Contains(strings.Join(events, "\n"), "ErrImageNeverPull "+never) {
		t.Error(err, events)
	}
	raw, err := os.ReadDir(filepath.Join(dir, "pulled"))
	if err != nil || len(raw) != 1 {
		t.Fatal(err, raw)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pulled", raw[0].Name()))
	if err != nil || strings.Contains(string(text), `"a"`) || !strings.Contains(string(text), `"kind":"ImagePulledRecord"`) {
		t.Error(err, string(text))
	}
}
