// Package token makes and reads bootstrap tokens: Secrets of the type
// bootstrap.kubernetes.io/token in kube-system.
package token

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/kubeadm"
)

// SecretPrefix is what the names of tokens' Secrets begin with.
const SecretPrefix = "bootstrap-token-"

const (
	alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	usage    = "usage-bootstrap-"
)

// Generate makes a token: six characters that are no secret, sixteen that are.
func Generate() (string, error) {
	var b strings.Builder
	for i := range 22 {
		if i == 6 {
			b.WriteByte('.')
		}
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		b.WriteByte(alphabet[n.Int64()])
	}
	return b.String(), nil
}

// Secret is the token as it is stored; a TTL of 0 is for ever.
func Secret(t kubeadm.BootstrapToken, now time.Time) (*corev1.Secret, error) {
	if !kubeadm.ValidToken(t.Token) {
		return nil, fmt.Errorf("token %q: expected six characters, a dot and sixteen, of a-z and 0-9", t.Token)
	}
	id, secret, _ := strings.Cut(t.Token, ".")
	data := map[string][]byte{"token-id": []byte(id), "token-secret": []byte(secret)}
	if t.Description != "" {
		data["description"] = []byte(t.Description)
	}
	switch {
	case t.Expires != nil:
		data["expiration"] = []byte(t.Expires.UTC().Format(time.RFC3339))
	case t.TTL != nil && t.TTL.Duration > 0:
		data["expiration"] = []byte(now.Add(t.TTL.Duration).UTC().Format(time.RFC3339))
	}
	for _, u := range t.Usages {
		if u != "signing" && u != "authentication" {
			return nil, fmt.Errorf("usage %q of a token: expected signing or authentication", u)
		}
		data[usage+u] = []byte("true")
	}
	for _, g := range t.Groups {
		if !strings.HasPrefix(g, "system:bootstrappers:") {
			return nil, fmt.Errorf("group %q of a token: expected one that begins with system:bootstrappers:", g)
		}
	}
	if len(t.Groups) > 0 {
		data["auth-extra-groups"] = []byte(strings.Join(t.Groups, ","))
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: SecretPrefix + id, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretTypeBootstrapToken, Data: data,
	}, nil
}

// FromSecret reads a stored token back.
func FromSecret(s *corev1.Secret) (kubeadm.BootstrapToken, error) {
	var t kubeadm.BootstrapToken
	t.Token = string(s.Data["token-id"]) + "." + string(s.Data["token-secret"])
	if !kubeadm.ValidToken(t.Token) {
		return t, fmt.Errorf("Secret %s has no valid token-id and token-secret", s.Name)
	}
	t.Description = string(s.Data["description"])
	if e := string(s.Data["expiration"]); e != "" {
		at, err := time.Parse(time.RFC3339, e)
		if err != nil {
			return t, fmt.Errorf("Secret %s: expiration: %w", s.Name, err)
		}
		t.Expires = &metav1.Time{Time: at}
	}
	for k, v := range s.Data {
		if u, ok := strings.CutPrefix(k, usage); ok && string(v) == "true" {
			t.Usages = append(t.Usages, u)
		}
	}
	slices.Sort(t.Usages)
	if g := string(s.Data["auth-extra-groups"]); g != "" {
		t.Groups = strings.Split(g, ",")
	}
	return t, nil
}

// Table is what token list prints.
func Table(tokens []kubeadm.BootstrapToken, now time.Time) string {
	rows := [][]string{{"TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"}}
	for _, t := range tokens {
		ttl, expires := "<forever>", "<never>"
		if t.Expires != nil {
			ttl, expires = "<invalid>", t.Expires.UTC().Format(time.RFC3339)
			if left := t.Expires.Sub(now); left > 0 {
				ttl = short(left)
			}
		}
		rows = append(rows, []string{t.Token, ttl, expires, orNone(strings.Join(t.Usages, ",")), orNone(t.Description), orNone(strings.Join(t.Groups, ","))})
	}
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], len(c))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			fmt.Fprintf(&line, "%-*s", widths[i]+3, c)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// Document is a token as token list prints it for programs.
func Document(t kubeadm.BootstrapToken, asYAML bool) ([]byte, error) {
	d := struct {
		metav1.TypeMeta        `json:",inline"`
		kubeadm.BootstrapToken `json:",inline"`
	}{metav1.TypeMeta{APIVersion: "output.kubeadm.k8s.io/v1alpha3", Kind: "BootstrapToken"}, t}
	if asYAML {
		return yaml.Marshal(d)
	}
	raw, err := json.MarshalIndent(d, "", "    ")
	return append(raw, '\n'), err
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// short is a duration in its largest unit, as kubectl prints ages.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
