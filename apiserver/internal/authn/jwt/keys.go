package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"xebec.dev/apiserver/internal/egress"
)

const (
	// fetchTimeout bounds one document.
	fetchTimeout = 30 * time.Second
	// refetch is the shortest time between two looks for keys: a stranger who
	// invents key ids must not make us ask the issuer each time.
	refetch = 10 * time.Second
	// maxDocument bounds what an issuer may send.
	maxDocument = 1 << 20
)

// keySet finds an issuer's keys when they are first needed, and again when a
// token names one that is not known.
type keySet struct {
	issuer    string
	discovery string
	client    *http.Client
	now       func() time.Time
	// fetched is told of each look at the issuer, with the key set as it came.
	fetched func(set []byte, at time.Time, err error)

	mu sync.Mutex
	// guarded by mu. fetching is closed at the end of the fetch under way.
	keys     []jose.JSONWebKey
	last     time.Time
	err      error
	fetching chan struct{}
}

func newKeySet(i *Issuer, now func() time.Time, dial egress.Dial) (*keySet, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if i.CertificateAuthority != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(i.CertificateAuthority)) {
			return nil, fmt.Errorf("issuer %s: no certificate in its certificate authority", i.URL)
		}
	}
	discovery := strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
	if i.DiscoveryURL != nil && *i.DiscoveryURL != "" {
		discovery = *i.DiscoveryURL
	}
	t := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second}
	if dial != nil {
		t.Proxy, t.DialContext = nil, dial
	}
	return &keySet{issuer: i.URL, discovery: discovery, now: now, client: &http.Client{Timeout: fetchTimeout, Transport: t}}, nil
}

// find gives the keys that may have signed a token with that key id. Tokens
// with known keys never wait for a fetch.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	for waited := false; ; waited = true {
		k.mu.Lock()
		found, err, fetching := match(k.keys, id), k.err, k.fetching
		recent := !k.last.IsZero() && k.now().Sub(k.last) < refetch
		mine := len(found) == 0 && fetching == nil && !recent && !waited
		if mine {
			k.fetching, k.last = make(chan struct{}), k.now()
		}
		k.mu.Unlock()
		switch {
		case len(found) > 0:
			return found, nil
		case mine:
			k.refresh()
		case fetching == nil || waited:
			return nil, err
		default:
			select {
			case <-fetching:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// refresh is not bound to the request that happened to need it.
func (k *keySet) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, raw, err := k.fetch(ctx)
	if k.fetched != nil {
		k.fetched(raw, k.now(), err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.keys = keys
	}
	close(k.fetching)
	k.fetching = nil
}

func match(keys []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return keys
	}
	var out []jose.JSONWebKey
	for _, k := range keys {
		if k.KeyID == id {
			out = append(out, k)
		}
	}
	return out
}

func (k *keySet) fetch(ctx context.Context) (keys []jose.JSONWebKey, raw []byte, err error) {
	var d struct {
		Issuer  string `json:"issuer"`
		KeysURI string `json:"jwks_uri"`
	}
	if _, err := k.get(ctx, k.discovery, &d); err != nil {
		return nil, nil, err
	}
	if d.Issuer != k.issuer {
		return nil, nil, fmt.Errorf("oidc: issuer did not match the issuer returned by provider, expected %q got %q", k.issuer, d.Issuer)
	}
	if u, err := url.Parse(d.KeysURI); err != nil || u.Scheme != "https" {
		return nil, nil, fmt.Errorf("oidc: jwks_uri %q of issuer %s is not an https URL", d.KeysURI, k.issuer)
	}
	var set jose.JSONWebKeySet
	if raw, err = k.get(ctx, d.KeysURI, &set); err != nil {
		return nil, nil, err
	}
	for _, key := range set.Keys {
		if key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	return keys, raw, nil
}

func (k *keySet) get(ctx context.Context, from string, into any) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("oidc: %s answered %s", from, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("oidc: %s: %w", from, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("oidc: %s: %w", from, err)
	}
	return body, nil
}
