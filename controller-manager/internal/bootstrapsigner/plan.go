// Package bootstrapsigner signs the ConfigMap kube-public/cluster-info with
// each bootstrap token: who has a token can tell that the cluster is the one.
package bootstrapsigner

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/bootstraptoken"
)

const (
	content = "kubeconfig"
	prefix  = "jws-kubeconfig-"
)

// Plan is what to change of the map's data, and when to look again.
type Plan struct {
	Set    map[string]string
	Remove []string
	Again  time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p.Set)) {
		fmt.Fprintf(&b, "set %s=%s\n", k, p.Set[k])
	}
	for _, k := range p.Remove {
		fmt.Fprintf(&b, "remove %s\n", k)
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again)
	}
	return b.String()
}

func plan(data map[string]string, tokens iter.Seq[*corev1.Secret], now time.Time) (Plan, error) {
	p := Plan{Set: map[string]string{}}
	text, ok := data[content]
	if !ok {
		return p, nil // nothing to sign yet
	}
	wanted := map[string]bool{}
	for s := range tokens {
		id, secret, ok := bootstraptoken.Signing(s, now)
		if !ok {
			continue
		}
		sig, err := sign(text, id, secret)
		if err != nil {
			return p, fmt.Errorf("sign with token %s: %w", id, err)
		}
		wanted[prefix+id] = true
		if data[prefix+id] != sig {
			p.Set[prefix+id] = sig
		}
		if left, bounded := bootstraptoken.Left(s, now); bounded && (p.Again == 0 || left < p.Again) {
			p.Again = left
		}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		if strings.HasPrefix(k, prefix) && !wanted[k] {
			p.Remove = append(p.Remove, k)
		}
	}
	return p, nil
}

// sign makes a detached JWS, by HS256.
func sign(text, id, secret string) (string, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}{"HS256", id})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding.EncodeToString
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(enc(header) + "." + enc([]byte(text))))
	return enc(header) + ".." + enc(mac.Sum(nil)), nil
}
