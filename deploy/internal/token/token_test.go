package token

import (
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestSecretsAndBack(t *testing.T) {
	in := kubeadm.BootstrapToken{Token: "abcdef.0123456789abcdef", Description: "for a test", TTL: &metav1.Duration{Duration: time.Hour},
		Usages: []string{"authentication", "signing"}, Groups: []string{kubeadm.NodeTokenGroup, "system:bootstrappers:more"}}
	s, err := Secret(in, now)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "bootstrap-token-abcdef" || s.Namespace != "kube-system" || string(s.Data["expiration"]) != "2026-01-02T04:04:05Z" ||
		string(s.Data["usage-bootstrap-signing"]) != "true" || string(s.Data["auth-extra-groups"]) != kubeadm.NodeTokenGroup+",system:bootstrappers:more" {
		t.Errorf("%s %s", s.Name, s.Data)
	}
	out, err := FromSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	in.TTL, in.Expires = nil, &metav1.Time{Time: now.Add(time.Hour)}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%+v came back as %+v", in, out)
	}
}

func TestSecretRefuses(t *testing.T) {
	for name, b := range map[string]kubeadm.BootstrapToken{
		"form":  {Token: "abc"},
		"usage": {Token: "abcdef.0123456789abcdef", Usages: []string{"login"}},
		"group": {Token: "abcdef.0123456789abcdef", Groups: []string{"system:masters"}},
	} {
		if _, err := Secret(b, now); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		tok, err := Generate()
		if err != nil || !kubeadm.ValidToken(tok) || seen[tok] {
			t.Fatalf("token %q: %v", tok, err)
		}
		seen[tok] = true
	}
}

func TestTable(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	golden.Check(t, "table.txt", []byte(Table([]kubeadm.BootstrapToken{
		{Token: "abcdef.0123456789abcdef", Expires: at(23 * time.Hour), Usages: []string{"authentication", "signing"}, Groups: []string{kubeadm.NodeTokenGroup}, Description: "first"},
		{Token: "ghijkl.0123456789abcdef"},
		{Token: "mnopqr.0123456789abcdef", Expires: at(-time.Minute)},
	}, now)))
	if !strings.Contains(Table(nil, now), "TOKEN") {
		t.Error("an empty table has no head")
	}
}
