package users

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func etc(t *testing.T, uids, gids string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"subuid": uids, "subgid": gids} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// No two pods have the same users, also over restarts; those of a pod that is
// gone are given again.
func TestRanges(t *testing.T) {
	o := Options{Pods: t.TempDir(), Most: 3, Etc: t.TempDir()}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	has := func(uid types.UID, want uint32) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(o.Pods, string(uid)), 0o700); err != nil {
			t.Fatal(err)
		}
		u, err := m.Of(uid)
		if want == 0 {
			if err == nil || !strings.Contains(err.Error(), "could not find an empty slot") {
				t.Errorf("%s: %v %v", uid, u, err)
			}
			return
		}
		if err != nil || u.Uids[0].HostId != want || u.Gids[0].HostId != want || u.Uids[0].ContainerId != 0 || u.Uids[0].Length != Unit || u.Mode != runtimeapi.NamespaceMode_POD {
			t.Errorf("%s: %v %v, want %d", uid, u, err, want)
		}
	}
	has("a", Unit)
	has("b", 2*Unit)
	has("a", Unit)
	if m, err = New(o); err != nil {
		t.Fatal(err)
	}
	has("c", 3*Unit)
	has("b", 2*Unit)
	has("d", 0)
	m.Release("b")
	has("d", 2*Unit)
	if raw, err := os.ReadFile(filepath.Join(o.Pods, "c", "userns")); err != nil || string(raw) != `{"uidMappings":[{"hostId":196608,"containerId":0,"length":65536}],"gidMappings":[{"hostId":196608,"containerId":0,"length":65536}]}` {
		t.Errorf("%s %v", raw, err)
	}
	if err := os.WriteFile(filepath.Join(o.Pods, "c", "userns"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "does not say which users the pod has") {
		t.Error(err)
	}
}

// What the node's owner gives the user kubelet is what pods get.
func TestSubordinate(t *testing.T) {
	for _, c := range []struct{ uids, gids, want string }{
		{"", "", ""}, {"other:100000:65536\n", "", ""},
		{"kubelet:131072:655360\n", "kubelet:131072:655360\n", ""},
		{"kubelet:131072:655360\n", "", "must be the same"},
		{"kubelet:131072:655360\nkubelet:0:1\n", "", "more than one range"},
		{"kubelet:x:655360\n", "", "is not kubelet:FIRST:COUNT"},
		{"kubelet:100000:655360\n", "kubelet:100000:655360\n", "must begin at a multiple of 65536"},
		{"kubelet:131072:65536\n", "kubelet:131072:65536\n", "have 65536 for each of 10 pods"},
	} {
		m, err := New(Options{Pods: t.TempDir(), Most: 10, Etc: etc(t, c.uids, c.gids)})
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v, want %q", c.uids, err, c.want)
			}
		case err != nil:
			t.Errorf("%q: %v", c.uids, err)
		case strings.HasPrefix(c.uids, "kubelet") != (m.first == 2*Unit):
			t.Errorf("%q: from %d on", c.uids, m.first)
		}
	}
	if _, err := New(Options{Each: 1000}); err == nil {
		t.Error("any number of users was taken")
	}
}
