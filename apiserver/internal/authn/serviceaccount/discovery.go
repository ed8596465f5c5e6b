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
	issuer, keysURI string
	keys            Keys
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
func NewDiscovery(issuer, keysURI, externalHost string, keys Keys) (*Discovery, error) {
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
	d := &Discovery{issuer: issuer, keysURI: keysURI, keys: keys}
	if len(d.published()) == 0 {
		return nil, fmt.Errorf("no keys provided for validating keyset")
	}
	return d, nil
}

func (d *Discovery) published() []PublicKey {
	return slices.DeleteFunc(slices.Clone(d.keys("")), func(k PublicKey) bool { return k.Hidden })
}

// Keys is the document at KeysPath.
func (d *Discovery) Keys() ([]byte, error) {
	set := jose.JSONWebKeySet{}
	for _, k := range d.published() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Key, KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	}
	return json.Marshal(&set)
}

// Configuration is the document at ConfigurationPath.
func (d *Discovery) Configuration() ([]byte, error) {
	var algorithms []string
	for _, k := range d.published() {
		algorithms = append(algorithms, string(k.Algorithm))
	}
	slices.Sort(algorithms)
	return json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		KeysURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}{d.issuer, d.keysURI, []string{"id_token"}, []string{"public"}, slices.Compact(algorithms)})
}
