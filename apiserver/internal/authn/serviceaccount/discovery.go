package serviceaccount

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
)

// Discovery is what others need to verify our tokens, as OpenID Connect
// serves it.
type Discovery struct {
	// Configuration is served at /.well-known/openid-configuration.
	Configuration []byte
	// Keys are served at /openid/v1/jwks.
	Keys []byte
}

// Paths and media types of discovery.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeysPath          = "/openid/v1/jwks"
	ConfigurationType = "application/json"
	KeysType          = "application/jwk-set+json"
	// CacheControl is the same for both.
	CacheControl = "public, max-age=3600"
)

// NewDiscovery makes the documents. keysURI defaults to KeysPath at the
// external host. The issuer must be an https URL.
func NewDiscovery(issuer, keysURI, externalHost string, keys []PublicKey) (*Discovery, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("issuer URL must use https scheme, got: %s", issuer)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("issuer URL may not include a query or fragment, got: %s", issuer)
	}
	if keysURI == "" {
		keysURI = (&url.URL{Scheme: "https", Host: externalHost, Path: KeysPath}).String()
	} else if k, err := url.Parse(keysURI); err != nil || k.Scheme != "https" {
		return nil, fmt.Errorf("JWKS URI must use https scheme, got: %s", keysURI)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no keys provided for validating keyset")
	}
	var algorithms []string
	set := jose.JSONWebKeySet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Key, KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
		algorithms = append(algorithms, string(k.Algorithm))
	}
	slices.Sort(algorithms)
	keysJSON, err := json.Marshal(&set)
	if err != nil {
		return nil, err
	}
	configuration, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		KeysURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}{issuer, keysURI, []string{"id_token"}, []string{"public"}, slices.Compact(algorithms)})
	if err != nil {
		return nil, err
	}
	return &Discovery{Configuration: configuration, Keys: keysJSON}, nil
}
