package serviceaccount

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/authz/authztest"
)

const issuerURL = "https://kubernetes.default.svc"

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

type world struct {
	*authztest.Reader
	now      time.Time
	issuer   *Issuer
	requests *Requests
	verifier *Verifier
}

func meta(ns, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + name)}
}

func newWorld(t testing.TB, private crypto.Signer) *world {
	t.Helper()
	w := &world{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.Reader = authztest.NewReader(
		&corev1.ServiceAccount{ObjectMeta: meta("ns", "sa")},
		&corev1.Pod{ObjectMeta: meta("ns", "pod"), Spec: corev1.PodSpec{ServiceAccountName: "sa", NodeName: "node"}},
		&corev1.Pod{ObjectMeta: meta("ns", "other"), Spec: corev1.PodSpec{ServiceAccountName: "default"}},
		&corev1.Pod{ObjectMeta: meta("ns", "nodeless"), Spec: corev1.PodSpec{ServiceAccountName: "sa", NodeName: "absent"}},
		&corev1.Secret{ObjectMeta: meta("ns", "secret")},
		&corev1.Node{ObjectMeta: meta("", "node")},
	)
	issuer, err := NewIssuer(issuerURL, private)
	if err != nil {
		t.Fatal(err)
	}
	w.issuer = issuer
	deps := Deps{Reader: w.Reader, Scheme: authztest.Scheme(), Now: func() time.Time { return w.now },
		Fresh: func(_ context.Context, r *scheme.Resource, ns, name string) (scheme.Object, error) {
			if o, ok := w.Get(r, ns, name); ok {
				return o, nil
			}
			return nil, apierrors.NewNotFound(r.GroupResource(), name)
		}}
	w.requests = &Requests{Issuer: issuer, Own: []string{issuerURL}, Extend: true, Deps: deps}
	w.verifier = NewVerifier([]string{issuerURL}, issuer.Keys, []string{issuerURL}, true, deps)
	return w
}

func (w *world) request(t testing.TB, spec authenticationv1.TokenRequestSpec) *authenticationv1.TokenRequest {
	t.Helper()
	r, err := w.requests.Request(context.Background(), "ns", "sa", &authenticationv1.TokenRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bindTo(kind, name string) *authenticationv1.BoundObjectReference {
	return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}
}

func TestRequestAndVerify(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"rsa": rsaKey(), "ecdsa": authntest.NewKey(t)} {
		w := newWorld(t, key)
		r := w.request(t, authenticationv1.TokenRequestSpec{BoundObjectRef: bindTo("Pod", "pod")})
		if *r.Spec.ExpirationSeconds != 3600 || r.Status.ExpirationTimestamp.Time != w.now.Add(time.Hour) || r.Name != "sa" || r.Namespace != "ns" {
			t.Errorf("%s: %+v", name, r)
		}
		id, err := w.verifier.AuthenticateToken(context.Background(), r.Status.Token, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		u := id.User
		if u.Name != "system:serviceaccount:ns:sa" || u.UID != "uid-sa" || strings.Join(u.Groups, " ") != "system:serviceaccounts system:serviceaccounts:ns" {
			t.Errorf("%s: %+v", name, u)
		}
		if u.Extra[PodNameKey][0] != "pod" || u.Extra[PodUIDKey][0] != "uid-pod" || u.Extra[NodeNameKey][0] != "node" || u.Extra[NodeUIDKey][0] != "uid-node" {
			t.Errorf("%s: extra %v", name, u.Extra)
		}
		if !strings.HasPrefix(id.CredentialID, "JTI=") || u.Extra["authentication.kubernetes.io/credential-id"][0] != id.CredentialID || id.Audiences[0] != issuerURL {
			t.Errorf("%s: %+v", name, id)
		}
	}
}

func TestClaims(t *testing.T) {
	w := newWorld(t, rsaKey())
	r := w.request(t, authenticationv1.TokenRequestSpec{BoundObjectRef: bindTo("Pod", "pod"), Audiences: []string{"a"}})
	parts := strings.Split(r.Status.Token, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if want := `{"alg":"RS256","kid":"` + w.issuer.Keys("")[0].ID + `"}`; string(header) != want {
		t.Errorf("header %s, want %s", header, want)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	if len(c["jti"].(string)) != 36 {
		t.Error(c["jti"])
	}
	delete(c, "jti")
	got, _ := json.Marshal(c)
	want := `{"aud":["a"],"exp":1893459600,"iat":1893456000,"iss":"https://kubernetes.default.svc","kubernetes.io":{"namespace":"ns",` +
		`"node":{"name":"node","uid":"uid-node"},"pod":{"name":"pod","uid":"uid-pod"},"serviceaccount":{"name":"sa","uid":"uid-sa"}},` +
		`"nbf":1893456000,"sub":"system:serviceaccount:ns:sa"}`
	if string(got) != want {
		t.Errorf("claims\n%s\nwant\n%s", got, want)
	}
}

func TestRequestErrors(t *testing.T) {
	w := newWorld(t, rsaKey())
	seconds := func(n int64) authenticationv1.TokenRequestSpec {
		return authenticationv1.TokenRequestSpec{ExpirationSeconds: &n}
	}
	ref := func(r *authenticationv1.BoundObjectReference) authenticationv1.TokenRequestSpec {
		return authenticationv1.TokenRequestSpec{BoundObjectRef: r}
	}
	otherUID := bindTo("Pod", "pod")
	otherUID.UID = "x"
	for _, c := range []struct {
		account string
		body    authenticationv1.TokenRequest
		err     string
	}{
		{"nope", authenticationv1.TokenRequest{}, `serviceaccounts "nope" not found`},
		{"sa", authenticationv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, `TokenRequest.authentication.k8s.io "sa" is invalid: metadata.name: Invalid value: "other": must match the service account name if specified`},
		{"sa", authenticationv1.TokenRequest{Spec: seconds(-1)}, `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: -1: may not specify a duration less than 10 minutes`},
		{"sa", authenticationv1.TokenRequest{Spec: seconds(599)}, `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`},
		{"sa", authenticationv1.TokenRequest{Spec: seconds(8589934592)}, `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds`},
		{"sa", authenticationv1.TokenRequest{Spec: ref(bindTo("Pod", ""))}, "Name parameter required."},
		{"sa", authenticationv1.TokenRequest{Spec: ref(&authenticationv1.BoundObjectReference{Kind: "Secret", Name: "x"})}, `secrets "x" not found`},
		{"sa", authenticationv1.TokenRequest{Spec: ref(bindTo("Node", "nope"))}, `nodes "nope" not found`},
		{"sa", authenticationv1.TokenRequest{Spec: ref(bindTo("Pod", "other"))}, `cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.`},
		{"sa", authenticationv1.TokenRequest{Spec: ref(bindTo("ConfigMap", "x"))}, "cannot bind token to object of type /v1, Kind=ConfigMap"},
		{"sa", authenticationv1.TokenRequest{Spec: ref(otherUID)}, `Operation cannot be fulfilled on Pod "pod": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated`},
	} {
		_, err := w.requests.Request(context.Background(), "ns", c.account, &c.body)
		if err == nil || err.Error() != c.err {
			t.Errorf("%v\nwant %s", err, c.err)
		}
	}
}

func TestLifetime(t *testing.T) {
	w := newWorld(t, rsaKey())
	warn := int64(3607)
	ends := func(token string) time.Duration {
		var c received
		if err := open(token, w.issuer.Keys, &c); err != nil {
			t.Fatal(err)
		}
		return c.Expiry.Time().Sub(w.now)
	}
	r := w.request(t, authenticationv1.TokenRequestSpec{ExpirationSeconds: &warn, BoundObjectRef: bindTo("Pod", "pod")})
	if got := ends(r.Status.Token); got != 365*24*time.Hour || r.Status.ExpirationTimestamp.Time != w.now.Add(3607*time.Second) {
		t.Errorf("extended: %v %v", got, r.Status.ExpirationTimestamp)
	}
	stale := 0
	w.verifier.Used = func(late bool) {
		if late {
			stale++
		}
	}
	w.now = w.now.Add(2 * time.Hour)
	if _, err := w.verifier.AuthenticateToken(context.Background(), r.Status.Token, nil); err != nil || stale != 1 {
		t.Errorf("stale use: %v, %d", err, stale)
	}
	for name, spec := range map[string]authenticationv1.TokenRequestSpec{
		"not of a pod":     {ExpirationSeconds: &warn},
		"another audience": {ExpirationSeconds: &warn, BoundObjectRef: bindTo("Pod", "pod"), Audiences: []string{"x"}},
	} {
		if got := ends(w.request(t, spec).Status.Token); got != 3607*time.Second {
			t.Errorf("%s: %v", name, got)
		}
	}
	w.requests.MaxSeconds = 7200
	long := int64(100000)
	warned := ""
	w.requests.Warn = func(_ context.Context, text string) { warned = text }
	r = w.request(t, authenticationv1.TokenRequestSpec{ExpirationSeconds: &long})
	if got := ends(r.Status.Token); got != 2*time.Hour || *r.Spec.ExpirationSeconds != 7200 || warned != "requested expiration of 100000 seconds shortened to 7200 seconds" {
		t.Errorf("shortened: %v %q", got, warned)
	}
}

// A token ends with what it is bound to.
func TestBoundObjects(t *testing.T) {
	check := func(name, kind, object string, change func(w *world), want string) {
		t.Helper()
		w := newWorld(t, rsaKey())
		spec := authenticationv1.TokenRequestSpec{}
		if kind != "" {
			spec.BoundObjectRef = bindTo(kind, object)
		}
		r := w.request(t, spec)
		change(w)
		_, err := w.verifier.AuthenticateToken(context.Background(), r.Status.Token, nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	const dead = "service account token has been invalidated"
	deleted := func(ago time.Duration, o scheme.Object) func(*world) {
		return func(w *world) {
			o.SetDeletionTimestamp(&metav1.Time{Time: w.now.Add(-ago)})
			w.Put(o)
		}
	}
	pod := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: meta("ns", "pod"), Spec: corev1.PodSpec{ServiceAccountName: "sa", NodeName: "node"}}
	}
	again := pod()
	again.UID = "again"
	check("nothing happens", "Pod", "pod", func(*world) {}, "")
	check("the pod is gone", "Pod", "pod", func(w *world) { w.Remove(pod()) }, dead)
	check("the pod was made again", "Pod", "pod", func(w *world) { w.Put(again) }, "pod UID (again) does not match service account pod ref claim (uid-pod)")
	check("the pod is ending", "Pod", "pod", deleted(30*time.Second, pod()), "")
	check("the pod should have ended", "Pod", "pod", deleted(2*time.Minute, pod()), dead)
	check("the pod's node is gone", "Pod", "pod", func(w *world) { w.Remove(&corev1.Node{ObjectMeta: meta("", "node")}) }, "")
	check("a pod of an absent node", "Pod", "nodeless", func(*world) {}, "")
	check("the secret is gone", "Secret", "secret", func(w *world) { w.Remove(&corev1.Secret{ObjectMeta: meta("ns", "secret")}) }, dead)
	check("the node is gone", "Node", "node", func(w *world) { w.Remove(&corev1.Node{ObjectMeta: meta("", "node")}) }, dead)
	check("the account is gone", "", "", func(w *world) { w.Remove(&corev1.ServiceAccount{ObjectMeta: meta("ns", "sa")}) }, `serviceaccounts "sa" not found`)
	other := &corev1.ServiceAccount{ObjectMeta: meta("ns", "sa")}
	other.UID = "again"
	check("the account was made again", "", "", func(w *world) { w.Put(other) }, "service account UID (again) does not match claim (uid-sa)")
	check("time passes", "", "", func(w *world) { w.now = w.now.Add(time.Hour + 50*time.Second) }, "")
	check("too much time passes", "", "", func(w *world) { w.now = w.now.Add(time.Hour + 70*time.Second) }, "service account token has expired")
	check("the clock goes back", "", "", func(w *world) { w.now = w.now.Add(-2 * time.Minute) }, "service account token is not valid yet")
}

// forge signs any header and claims with any method.
func forge(t testing.TB, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func goodClaims(w *world) map[string]any {
	return map[string]any{
		"iss": issuerURL, "aud": []string{issuerURL}, "sub": "system:serviceaccount:ns:sa",
		"exp": w.now.Add(time.Hour).Unix(), "iat": w.now.Unix(), "nbf": w.now.Unix(),
		"kubernetes.io": map[string]any{"namespace": "ns", "serviceaccount": map[string]any{"name": "sa", "uid": "uid-sa"}},
	}
}

// The corpus of forged and broken tokens: none may be accepted.
func TestCorpus(t *testing.T) {
	key := rsaKey()
	w := newWorld(t, key)
	good := forge(t, jose.RS256, key, nil, goodClaims(w))
	if id, err := w.verifier.AuthenticateToken(context.Background(), good, nil); id == nil || err != nil {
		t.Fatal("the good one is refused", err)
	}
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	with := func(k string, v any) map[string]any {
		c := goodClaims(w)
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
		return c
	}
	otherRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec := authntest.NewKey(t)
	full, _ := jose.ParseSigned(good, []jose.SignatureAlgorithm{jose.RS256})
	own := jose.JSONWebKey{Key: otherRSA.Public(), KeyID: "x", Algorithm: "RS256"}
	ownJSON, _ := own.MarshalJSON()
	var ownMap map[string]any
	_ = json.Unmarshal(ownJSON, &ownMap)
	corpus := map[string]string{
		"empty":                       "",
		"dots":                        "..",
		"not base64":                  "!.!.!",
		"alg none":                    b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"alg None":                    b64([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".",
		"alg none, old signature":     b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2],
		"no signature":                parts[0] + "." + parts[1] + ".",
		"other claims, old signature": parts[0] + "." + b64([]byte(`{"iss":"`+issuerURL+`"}`)) + "." + parts[2],
		"four parts":                  good + "." + parts[2],
		"five parts (JWE)":            good + "." + parts[2] + "." + parts[2],
		"JSON form":                   full.FullSerialize(),
		"two signatures":              `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"},{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"HS256 with the public key":   forge(t, jose.HS256, publicPEM, nil, goodClaims(w)),
		"HS256 with the DER":          forge(t, jose.HS256, der, nil, goodClaims(w)),
		"RS512 by the right key":      forge(t, jose.RS512, key, nil, goodClaims(w)),
		"PS256 by the right key":      forge(t, jose.PS256, key, nil, goodClaims(w)),
		"another RSA key":             forge(t, jose.RS256, otherRSA, nil, goodClaims(w)),
		"another kind of key":         forge(t, jose.ES256, ec, nil, goodClaims(w)),
		"its own key in the header":   forge(t, jose.RS256, otherRSA, map[jose.HeaderKey]any{"jwk": ownMap}, goodClaims(w)),
		"a key elsewhere":             forge(t, jose.RS256, otherRSA, map[jose.HeaderKey]any{"jku": "https://evil/keys", "x5u": "https://evil/cert"}, goodClaims(w)),
		"kid traversal":               forge(t, jose.RS256, otherRSA, map[jose.HeaderKey]any{"kid": "../../../dev/null"}, goodClaims(w)),
		"kid of the right key":        forge(t, jose.RS256, otherRSA, map[jose.HeaderKey]any{"kid": w.issuer.Keys("")[0].ID}, goodClaims(w)),
		"critical header":             b64([]byte(`{"alg":"RS256","crit":["x"],"x":1}`)) + "." + parts[1] + "." + parts[2],
		"another issuer":              forge(t, jose.RS256, key, nil, with("iss", "https://evil")),
		"no issuer":                   forge(t, jose.RS256, key, nil, with("iss", nil)),
		"issuer with a slash":         forge(t, jose.RS256, key, nil, with("iss", issuerURL+"/")),
		"another audience":            forge(t, jose.RS256, key, nil, with("aud", []string{"x"})),
		"no audience":                 forge(t, jose.RS256, key, nil, with("aud", nil)),
		"expired":                     forge(t, jose.RS256, key, nil, with("exp", w.now.Add(-2*time.Minute).Unix())),
		"no expiry":                   forge(t, jose.RS256, key, nil, with("exp", nil)),
		"expiry of another type":      forge(t, jose.RS256, key, nil, with("exp", "never")),
		"not yet":                     forge(t, jose.RS256, key, nil, with("nbf", w.now.Add(2*time.Minute).Unix())),
		"from the future":             forge(t, jose.RS256, key, nil, with("iat", w.now.Add(2*time.Minute).Unix())),
		"another subject":             forge(t, jose.RS256, key, nil, with("sub", "system:serviceaccount:ns:admin")),
		"no kubernetes.io":            forge(t, jose.RS256, key, nil, with("kubernetes.io", nil)),
		"no such account":             forge(t, jose.RS256, key, nil, with("kubernetes.io", map[string]any{"namespace": "ns", "serviceaccount": map[string]any{"name": "x", "uid": "y"}})),
		"very long":                   good + strings.Repeat("A", 1<<20),
	}
	for name, token := range corpus {
		if id, err := w.verifier.AuthenticateToken(context.Background(), token, nil); id != nil {
			t.Errorf("%s is accepted (%v)", name, err)
		}
	}
}

func TestAudiences(t *testing.T) {
	w := newWorld(t, rsaKey())
	r := w.request(t, authenticationv1.TokenRequestSpec{Audiences: []string{"x", "y"}})
	_, err := w.verifier.AuthenticateToken(context.Background(), r.Status.Token, nil)
	if want := `token audiences ["x" "y"] is invalid for the target audiences ["https://kubernetes.default.svc"]`; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	id, err := w.verifier.AuthenticateToken(context.Background(), r.Status.Token, []string{"y", "z"})
	if err != nil || len(id.Audiences) != 1 || id.Audiences[0] != "y" {
		t.Errorf("%+v %v", id, err)
	}
}

func TestLegacy(t *testing.T) {
	key := rsaKey()
	w := newWorld(t, key)
	claims := map[string]any{
		"iss": legacyIssuer, "sub": "system:serviceaccount:ns:sa",
		"kubernetes.io/serviceaccount/namespace": "ns", "kubernetes.io/serviceaccount/secret.name": "t",
		"kubernetes.io/serviceaccount/service-account.name": "sa", "kubernetes.io/serviceaccount/service-account.uid": "uid-sa",
	}
	token := forge(t, jose.RS256, key, nil, claims)
	secret := func(content string, labels map[string]string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: meta("ns", "t"), Data: map[string][]byte{"token": []byte(content)}}
		s.Labels = labels
		return s
	}
	v := NewLegacyVerifier(w.verifier.keys, []string{issuerURL}, true, w.requests.Deps)
	try := func(token string) bool {
		id, err := v.AuthenticateToken(context.Background(), token, nil)
		return err == nil && id != nil && id.User.Name == "system:serviceaccount:ns:sa"
	}
	if try(token) {
		t.Error("accepted without its secret")
	}
	w.Put(secret(token, nil))
	if !try(token) {
		t.Error("refused")
	}
	if id, err := v.AuthenticateToken(context.Background(), token, []string{"other"}); id != nil || err == nil {
		t.Error("accepted for another audience")
	}
	w.Put(secret(token+"x", nil))
	if try(token) {
		t.Error("accepted although the secret has another")
	}
	w.Put(secret(token, map[string]string{invalidSince: "2029-01-01"}))
	if try(token) {
		t.Error("accepted although invalidated")
	}
	if id, err := w.verifier.AuthenticateToken(context.Background(), token, nil); id != nil || err != nil {
		t.Error("the other verifier minds it", err)
	}
}

func TestKeys(t *testing.T) {
	key := authntest.NewKey(t)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	sec1, _ := x509.MarshalECPrivateKey(key)
	pkix, _ := x509.MarshalPKIXPublicKey(key.Public())
	cert := authntest.NewAuthority(t, "sa")
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	want, _ := NewPublicKey(key.Public())
	for name, content := range map[string][]byte{
		"pkcs8": encode("PRIVATE KEY", pkcs8), "sec1": encode("EC PRIVATE KEY", sec1), "public": encode("PUBLIC KEY", pkix),
	} {
		keys, err := ParsePublicKeys(content)
		if err != nil || len(keys) != 1 || keys[0].ID != want.ID || keys[0].Algorithm != jose.ES256 {
			t.Errorf("%s: %v %v", name, keys, err)
		}
	}
	keys, err := ParsePublicKeys(append(cert.PEM(), encode("PUBLIC KEY", pkix)...))
	if err != nil || len(keys) != 2 || !keys[0].Key.(*ecdsa.PublicKey).Equal(cert.Key.Public()) {
		t.Errorf("a certificate and a key: %v %v", keys, err)
	}
	if _, err := ParsePublicKeys([]byte("nothing")); err == nil {
		t.Error("no keys, no error")
	}
	for _, content := range [][]byte{encode("PRIVATE KEY", pkcs8), encode("EC PRIVATE KEY", sec1)} {
		if k, err := ParsePrivateKey(content); err != nil || !k.Public().(*ecdsa.PublicKey).Equal(key.Public()) {
			t.Error(err)
		}
	}
	if _, err := ParsePrivateKey(encode("PUBLIC KEY", pkix)); err == nil {
		t.Error("a public key signs")
	}
}

func TestDiscovery(t *testing.T) {
	k, _ := NewPublicKey(rsaKey().Public())
	d, err := NewDiscovery(issuerURL, "", "10.0.0.1:6443", Static(k))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"issuer":"https://kubernetes.default.svc","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],` +
		`"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`
	if text, err := d.Configuration(); err != nil || string(text) != want {
		t.Errorf("%s %v", text, err)
	}
	keys, err := d.Keys()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys, &set); err != nil || len(set.Keys) != 1 || set.Keys[0].KeyID != k.ID || !set.Keys[0].IsPublic() || set.Keys[0].Use != "sig" {
		t.Errorf("%s %v", keys, err)
	}
	for _, bad := range []string{"http://a", "kubernetes", "https://a?x=1"} {
		if _, err := NewDiscovery(bad, "", "h", Static(k)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestSplitUsername(t *testing.T) {
	for name, want := range map[string]bool{
		"system:serviceaccount:ns:sa": true, "system:serviceaccount:ns:a.b": true, "system:serviceaccount:ns:": false,
		"system:serviceaccount::sa": false, "system:serviceaccount:ns": false, "system:serviceaccount:ns:a:b": false, "x": false, "system:serviceaccount:N:a": false,
	} {
		if _, _, ok := SplitUsername(name); ok != want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func FuzzToken(f *testing.F) {
	w := newWorld(f, rsaKey())
	good := w.request(f, authenticationv1.TokenRequestSpec{}).Status.Token
	f.Add(good)
	f.Add("a.b.c")
	f.Add(`{"payload":"","signatures":[]}`)
	f.Fuzz(func(t *testing.T, token string) {
		id, err := w.verifier.AuthenticateToken(context.Background(), token, nil)
		if id != nil && err != nil {
			t.Error("an identity and an error")
		}
		if id != nil && id.User.Name != "system:serviceaccount:ns:sa" {
			t.Errorf("%q became %v", token, id.User)
		}
	})
}
