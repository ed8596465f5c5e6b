package serviceaccount

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "xebec.dev/proto/gen/plugin/signer/v1"
)

// External is a signer on this machine that keeps the private keys to itself
// (--service-account-signing-endpoint).
type External struct {
	conn    *grpc.ClientConn
	now     func() time.Time
	metrics *externalMetrics

	mu sync.Mutex
	// guarded by mu.
	keys     []PublicKey
	fetched  time.Time
	refresh  time.Duration
	fetching chan struct{}
	err      error
}

const (
	signerService = "/v1.ExternalJWTSigner/"
	// signerTimeout is that of one call.
	signerTimeout = 10 * time.Second
	// refetch is the shortest time between two looks for a key that is not
	// known: a stranger can invent as many as he likes.
	refetch = time.Second

	maxSignerKeyID = 1024
)

// NewExternal makes a client of the signer at a path, or at @NAME in the
// abstract namespace. It does not wait for it.
func NewExternal(endpoint string, r prometheus.Registerer) (*External, error) {
	target := "unix:" + endpoint
	if name, ok := strings.CutPrefix(endpoint, "@"); ok {
		target = "unix-abstract:" + name
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithAuthority("localhost"), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return nil, err
	}
	return &External{conn: conn, now: time.Now, metrics: newExternalMetrics(r)}, nil
}

// Start waits for the signer: its keys, and the longest life of a token that
// it signs, in seconds.
func (x *External) Start(ctx context.Context) (maxSeconds int64, err error) {
	var out pb.MetadataResponse
	if err := x.call(ctx, "Metadata", &pb.MetadataRequest{}, &out); err != nil {
		return 0, fmt.Errorf("ask the signer for its metadata: %w", err)
	}
	if out.MaxTokenExpirationSeconds < minSeconds {
		return 0, fmt.Errorf("max token life supported by external-jwt-signer (%ds) is less than acceptable (min %ds)", out.MaxTokenExpirationSeconds, minSeconds)
	}
	return out.MaxTokenExpirationSeconds, x.fetch(ctx)
}

func (x *External) call(ctx context.Context, method string, in, out any) error {
	start := time.Now()
	err := x.conn.Invoke(ctx, signerService+method, in, out)
	x.metrics.called(method, status.Code(err).String(), time.Since(start))
	return err
}

// fetch asks for the keys; one call serves all who want them.
func (x *External) fetch(ctx context.Context) error {
	x.mu.Lock()
	if f := x.fetching; f != nil {
		x.mu.Unlock()
		select {
		case <-f:
		case <-ctx.Done():
			return ctx.Err()
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.err
	}
	f := make(chan struct{})
	x.fetching = f
	x.mu.Unlock()
	var out pb.FetchKeysResponse
	err := x.call(ctx, "FetchKeys", &pb.FetchKeysRequest{}, &out)
	var keys []PublicKey
	if err == nil {
		keys, err = externalKeys(&out)
	}
	if err != nil {
		err = fmt.Errorf("fetch the keys of the service account signer: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fetched, x.err, x.fetching = x.now(), err, nil; err == nil {
		x.keys, x.refresh = keys, time.Duration(out.RefreshHintSeconds)*time.Second
		x.metrics.fetched(x.fetched, out.DataTimestamp.AsTime())
	}
	close(f)
	return err
}

func externalKeys(r *pb.FetchKeysResponse) ([]PublicKey, error) {
	if r.RefreshHintSeconds <= 0 {
		return nil, fmt.Errorf("found invalid refresh hint (%ds): it must be more than 0", r.RefreshHintSeconds)
	}
	if r.DataTimestamp == nil {
		return nil, errors.New("found no data timestamp")
	}
	var keys []PublicKey
	for _, k := range r.Keys {
		if k.KeyId == "" || len(k.KeyId) > maxSignerKeyID {
			return nil, fmt.Errorf("key id %.40q is empty or longer than %d bytes", k.KeyId, maxSignerKeyID)
		}
		if slices.ContainsFunc(keys, func(o PublicKey) bool { return o.ID == k.KeyId }) {
			return nil, fmt.Errorf("key id %q is there twice", k.KeyId)
		}
		public, err := x509.ParsePKIXPublicKey(k.Key)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.KeyId, err)
		}
		algorithm, err := algorithmOf(public)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.KeyId, err)
		}
		keys = append(keys, PublicKey{ID: k.KeyId, Key: public, Algorithm: algorithm, Hidden: k.ExcludeFromOidcDiscovery})
	}
	return keys, nil
}

// Keys are those to try for a token with that key id, and all for "". When
// none has the id, the signer is asked.
func (x *External) Keys(id string) []PublicKey {
	x.mu.Lock()
	keys, since := x.keys, x.now().Sub(x.fetched)
	late, known := since >= x.refresh, id == "" || slices.ContainsFunc(keys, func(k PublicKey) bool { return k.ID == id })
	x.mu.Unlock()
	switch {
	case !known && since >= refetch:
		ctx, cancel := context.WithTimeout(context.Background(), signerTimeout)
		defer cancel()
		_ = x.fetch(ctx) // the keys there are will do, or not
	case late:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), signerTimeout)
			defer cancel()
			_ = x.fetch(ctx) // and again at the next use
		}()
		return keys
	default:
		return keys
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.keys
}

// sign has the payload of a token signed.
func (x *External) sign(ctx context.Context, payload []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, signerTimeout)
	defer cancel()
	claims := base64.RawURLEncoding.EncodeToString(payload)
	var out pb.SignJWTResponse
	if err := x.call(ctx, "Sign", &pb.SignJWTRequest{Claims: claims}, &out); err != nil {
		return "", fmt.Errorf("while signing jwt: %w", err)
	}
	id, err := checkHeader(out.Header)
	if err != nil {
		return "", fmt.Errorf("while validating header: %w", err)
	}
	i := slices.IndexFunc(x.Keys(id), func(k PublicKey) bool { return k.ID == id })
	if i < 0 {
		return "", fmt.Errorf("key id %q in the signer's header is none of its keys", id)
	}
	if x.Keys(id)[i].Hidden {
		return "", fmt.Errorf("key used for signing JWT (kid: %s) is excluded from OIDC discovery docs", id)
	}
	token := out.Header + "." + claims + "." + out.Signature
	var c registered
	if err := open(token, x.Keys, &c); err != nil {
		return "", fmt.Errorf("the signer's signature is wrong: %w", err)
	}
	return token, nil
}

// checkHeader gives the key's id in a header that says no more than it may.
func checkHeader(encoded string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", err
	}
	var h struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return "", err
	}
	switch {
	case h.KeyID == "" || len(h.KeyID) > maxSignerKeyID:
		return "", fmt.Errorf("key id is empty or longer than %d bytes", maxSignerKeyID)
	case h.Type != "JWT":
		return "", errors.New("typ must be JWT")
	case !slices.Contains(algorithms, jose.SignatureAlgorithm(h.Algorithm)):
		return "", fmt.Errorf("bad signing algorithm %q", h.Algorithm)
	}
	return h.KeyID, nil
}

// externalMetrics measures the signer; nil measures nothing.
type externalMetrics struct {
	duration        *prometheus.HistogramVec
	signs, fetches  *prometheus.CounterVec
	success, dataAt prometheus.Gauge
}

func newExternalMetrics(r prometheus.Registerer) *externalMetrics {
	if r == nil {
		return nil
	}
	const prefix = "apiserver_externaljwt_"
	m := &externalMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "request_duration_seconds", Help: "Seconds that calls of the signer of service account tokens take.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "code"}),
		signs:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "sign_request_total", Help: "Tokens that the signer was asked for, by outcome."}, []string{"code"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "fetch_keys_request_total", Help: "Times that the signer was asked for its keys, by outcome."}, []string{"code"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "fetch_keys_success_timestamp", Help: "When the signer's keys were last fetched."}),
		dataAt:  prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "fetch_keys_data_timestamp", Help: "When the signer had its keys from where they are kept."}),
	}
	r.MustRegister(m.duration, m.signs, m.fetches, m.success, m.dataAt)
	return m
}

func (m *externalMetrics) called(method, code string, d time.Duration) {
	if m == nil {
		return
	}
	m.duration.WithLabelValues(method, code).Observe(d.Seconds())
	switch method {
	case "Sign":
		m.signs.WithLabelValues(code).Inc()
	case "FetchKeys":
		m.fetches.WithLabelValues(code).Inc()
	}
}

func (m *externalMetrics) fetched(at, data time.Time) {
	if m != nil {
		m.success.Set(float64(at.Unix()))
		m.dataAt.Set(float64(data.Unix()))
	}
}
