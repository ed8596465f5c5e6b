package bootstrap

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/pki"
)

// clusterInfoPath is where everybody may read where the cluster is.
const clusterInfoPath = "/api/v1/namespaces/kube-public/configmaps/cluster-info"

// discover finds the cluster's address and authority. By a token: the public
// ConfigMap, read without trust, must be signed with the token and name an
// authority of the given hashes; it is then read again with that trust.
func discover(ctx context.Context, d kubeadm.Discovery, limit time.Duration) (*kubeconfig.Config, error) {
	if d.File != nil {
		return kubeconfig.Read(d.File.KubeConfigPath)
	}
	t := d.BootstrapToken
	var found *kubeconfig.Config
	err := retry(ctx, limit, "the cluster's discovery information", func(ctx context.Context) error {
		url := "https://" + t.APIServerEndpoint + clusterInfoPath
		info, err := fetchInfo(ctx, url, &tls.Config{InsecureSkipVerify: true}) // checked below, by token and hash
		if err != nil {
			return err
		}
		k, err := Trusted(info.Data, t)
		if err != nil {
			return err
		}
		if t.UnsafeSkipCAVerification {
			found = k
			return nil
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(k.Clusters[0].Cluster.CAData)
		again, err := fetchInfo(ctx, url, &tls.Config{RootCAs: pool})
		if err != nil {
			return fmt.Errorf("read it again, trusting the authority it names: %w", err)
		}
		if again.Data["kubeconfig"] != info.Data["kubeconfig"] {
			return errors.New("what the trusted connection says differs from the untrusted one: somebody may be in between")
		}
		found = k
		return nil
	})
	return found, err
}

func fetchInfo(ctx context.Context, url string, trust *tls.Config) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	m := &corev1.ConfigMap{}
	return m, json.Unmarshal(raw, m)
}

// Trusted is the kubeconfig of cluster-info if the token's signature and the
// authority's hash are right.
func Trusted(data map[string]string, t *kubeadm.TokenDiscovery) (*kubeconfig.Config, error) {
	id, secret, _ := strings.Cut(t.Token, ".")
	text, ok := data["kubeconfig"]
	if !ok {
		return nil, errors.New("the cluster-info ConfigMap has no kubeconfig")
	}
	jws, ok := data["jws-kubeconfig-"+id]
	if !ok {
		return nil, fmt.Errorf("the cluster-info ConfigMap is not signed for token %s: the token does not exist, has expired, or the controller manager has not signed yet", id)
	}
	if err := verify(jws, text, id, secret); err != nil {
		return nil, fmt.Errorf("signature of cluster-info: %w", err)
	}
	k, err := kubeconfig.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("cluster-info: %w", err)
	}
	if t.UnsafeSkipCAVerification {
		return k, nil
	}
	ca, err := pki.ParseCert(k.Clusters[0].Cluster.CAData)
	if err != nil {
		return nil, fmt.Errorf("authority of cluster-info: %w", err)
	}
	if !slices.Contains(t.CACertHashes, pki.Hash(ca)) {
		return nil, fmt.Errorf("the cluster's authority has the hash %s, which is none of %s", pki.Hash(ca), strings.Join(t.CACertHashes, ", "))
	}
	return k, nil
}

// verify checks a detached JWS with the algorithm HS256, the only one taken.
func verify(jws, content, id, secret string) error {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 || parts[1] != "" {
		return errors.New("it is not a detached JWS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return err
	}
	var header struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		return err
	}
	if header.Alg != "HS256" || header.Kid != id {
		return fmt.Errorf("it is by algorithm %q and key %q: expected HS256 and %q", header.Alg, header.Kid, id)
	}
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(content))))
	if !hmac.Equal(given, mac.Sum(nil)) {
		return errors.New("it is not made with this token, or the content was changed")
	}
	return nil
}
