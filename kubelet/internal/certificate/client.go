package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
)

// Client is the node's identity towards the API server.
type Client struct {
	Store                 Store
	Kubeconfig, Bootstrap string
	Node                  string
	Scheme                *scheme.Scheme
	// Rotate keeps the certificate fresh; else the kubeconfig's is used as it is.
	Rotate bool
	Log    *zap.Logger

	rotation atomic.Pointer[rotation]
}

// Until is when the certificate in use ends, and how often it could not be
// renewed; known is false when nothing keeps one.
func (c *Client) Until() (until time.Time, failures int64, known bool) {
	r := c.rotation.Load()
	if r == nil {
		return time.Time{}, 0, false
	}
	pair := r.get()
	if pair == nil {
		return time.Time{}, r.failures.Load(), false
	}
	return pair.Leaf.NotAfter, r.failures.Load(), true
}

// Config is how to reach the API server, once there is an identity: the
// kubeconfig's, that in the store, or a new one by bootstrap.
func (c *Client) Config(ctx context.Context) (client.Config, error) {
	if err := c.ensure(ctx); err != nil {
		return client.Config{}, err
	}
	out := client.Config{Kubeconfig: c.Kubeconfig}
	if pair, err := c.Store.Load(); err == nil && Good(pair, time.Now()) && c.Rotate {
		out.CertFile, out.KeyFile = c.Store.Current(), c.Store.Current()
	}
	return out, nil
}

func (c *Client) ensure(ctx context.Context) error {
	_, err := os.Stat(c.Kubeconfig)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	if exists {
		good, err := c.usable()
		if good || c.Bootstrap == "" {
			return err
		}
		c.Log.Warn("the kubeconfig's certificate is no longer good; asking for another", zap.String("kubeconfig", c.Kubeconfig), zap.Error(err))
	}
	if c.Bootstrap == "" {
		return fmt.Errorf("--kubeconfig: %s does not exist, and there is no --bootstrap-kubeconfig to ask for a certificate with", c.Kubeconfig)
	}
	return c.bootstrap(ctx)
}

// usable reports whether the kubeconfig leads to a client certificate that
// holds, or to other credentials. A certificate that is in the kubeconfig
// itself goes into the store, where it can be rotated.
func (c *Client) usable() (bool, error) {
	k, err := read(c.Kubeconfig)
	if err != nil {
		return false, err
	}
	u := k.user()
	switch {
	case u.Token != "" || u.TokenFile != "":
		return true, nil
	case len(u.CertData) > 0:
		pair, err := Parse(u.CertData, u.KeyData)
		if err != nil {
			return false, fmt.Errorf("client certificate in %s: %w", c.Kubeconfig, err)
		}
		have, err := c.Store.Load()
		if c.Rotate && (err != nil || !Good(have, time.Now())) && Good(pair, time.Now()) {
			if _, err := c.Store.Save(u.CertData, u.KeyData); err != nil {
				return false, err
			}
		}
		return Good(pair, time.Now()) || Good(have, time.Now()), nil
	case u.CertFile != "":
		cert, err := os.ReadFile(u.CertFile)
		if err != nil {
			return false, err
		}
		key, err := os.ReadFile(u.KeyFile)
		if err != nil {
			return false, err
		}
		pair, err := Parse(cert, key)
		return err == nil && Good(pair, time.Now()), err
	}
	return true, nil
}

type kubeconfig struct {
	APIVersion string         `json:"apiVersion,omitempty"`
	Kind       string         `json:"kind,omitempty"`
	Clusters   []namedCluster `json:"clusters"`
	Contexts   []namedContext `json:"contexts"`
	Current    string         `json:"current-context"`
	Users      []namedUser    `json:"users"`
}

type namedCluster struct {
	Name    string         `json:"name"`
	Cluster map[string]any `json:"cluster"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster   string `json:"cluster"`
		Namespace string `json:"namespace,omitempty"`
		User      string `json:"user"`
	} `json:"context"`
}

type namedUser struct {
	Name string `json:"name"`
	User user   `json:"user"`
}

type user struct {
	CertFile  string `json:"client-certificate,omitempty"`
	KeyFile   string `json:"client-key,omitempty"`
	CertData  []byte `json:"client-certificate-data,omitempty"`
	KeyData   []byte `json:"client-key-data,omitempty"`
	Token     string `json:"token,omitempty"`
	TokenFile string `json:"tokenFile,omitempty"`
}

func read(path string) (*kubeconfig, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k := &kubeconfig{}
	if err := yaml.Unmarshal(raw, k); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return k, nil
}

// user is the current context's.
func (k *kubeconfig) user() user {
	for _, c := range k.Contexts {
		if c.Name != k.Current {
			continue
		}
		for _, u := range k.Users {
			if u.Name == c.Context.User {
				return u.User
			}
		}
	}
	return user{}
}

// bootstrap asks for the first certificate with the bootstrap credentials,
// and writes the kubeconfig that uses it.
func (c *Client) bootstrap(ctx context.Context) error {
	pair, err := c.Store.Load()
	if err != nil || !Good(pair, time.Now()) {
		if err := c.first(ctx); err != nil {
			return err
		}
	}
	from, err := read(c.Bootstrap)
	if err != nil {
		return err
	}
	cluster := map[string]any{}
	for _, x := range from.Contexts {
		for _, cl := range from.Clusters {
			if x.Name == from.Current && cl.Name == x.Context.Cluster {
				cluster = cl.Cluster
			}
		}
	}
	if f, ok := cluster["certificate-authority"].(string); ok && f != "" && !filepath.IsAbs(f) {
		cluster["certificate-authority"] = filepath.Join(filepath.Dir(c.Bootstrap), f)
	}
	to := kubeconfig{APIVersion: "v1", Kind: "Config", Current: "default-context", Clusters: []namedCluster{{"default-cluster", cluster}},
		Users: []namedUser{{"default-auth", user{CertFile: c.Store.Current(), KeyFile: c.Store.Current()}}}}
	x := namedContext{Name: "default-context"}
	x.Context.Cluster, x.Context.User, x.Context.Namespace = "default-cluster", "default-auth", "default"
	to.Contexts = []namedContext{x}
	raw, err := yaml.Marshal(to)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), dirMode); err != nil {
		return err
	}
	temporary := c.Kubeconfig + ".new"
	if err := writeSynced(temporary, raw); err != nil {
		return err
	}
	return os.Rename(temporary, c.Kubeconfig)
}

// again is the pause between attempts at the first certificate.
const again = 2 * time.Second

func (c *Client) first(ctx context.Context) error {
	api, err := client.Dial(client.Config{Kubeconfig: c.Bootstrap}, c.Scheme, client.Options{})
	if err != nil {
		return fmt.Errorf("--bootstrap-kubeconfig: %w", err)
	}
	defer api.Close()
	for told := ""; ; {
		cert, key, err := ForClient(c.Node).Ask(ctx, api)
		if err == nil {
			_, err = c.Store.Save(cert, key)
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if told != err.Error() {
			told = err.Error()
			c.Log.Warn("no client certificate yet; trying again", zap.Error(err))
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// KeepFresh replaces the client certificate in time, until ctx ends. The
// connection follows the file.
func (c *Client) KeepFresh(ctx context.Context, api *client.Client) error {
	if !c.Rotate {
		<-ctx.Done()
		return ctx.Err()
	}
	pair, err := c.Store.Load()
	if err != nil { // other credentials: nothing to rotate
		<-ctx.Done()
		return ctx.Err()
	}
	r := &rotation{want: func() Want { return ForClient(c.Node) }, store: c.Store, api: api, pair: pair, log: c.Log, name: "client"}
	if c.Bootstrap != "" {
		r.expired = c.anew
	}
	c.rotation.Store(r)
	return r.run(ctx)
}

// anew asks with the bootstrap credentials, as a node does that joins: one
// that slept longer than its certificate lasted needs nobody's help.
func (c *Client) anew(ctx context.Context) (cert, key []byte, err error) {
	api, err := client.Dial(client.Config{Kubeconfig: c.Bootstrap}, c.Scheme, client.Options{})
	if err != nil {
		return nil, nil, fmt.Errorf("--bootstrap-kubeconfig: %w", err)
	}
	defer api.Close()
	return ForClient(c.Node).Ask(ctx, api)
}

// pause is until a certificate is looked at again, 0 once it is due.
func pause(c *x509.Certificate, now time.Time, luck float64) time.Duration {
	left := RotateAt(c, luck).Sub(now)
	if left <= 0 {
		return 0
	}
	return min(max(left, time.Second), look)
}

// rotation keeps one stored identity fresh.
type rotation struct {
	want  func() Want
	store Store
	api   *client.Client
	log   *zap.Logger
	name  string
	// again reports whether what is wanted has changed.
	again func(*tls.Certificate) bool
	// expired asks in another way once the certificate, with which a request
	// would be made, has run out; it may be nil.
	expired func(ctx context.Context) (cert, key []byte, err error)

	mu   sync.Mutex
	pair *tls.Certificate // guarded by mu; nil: none yet
	// failures to renew, for metrics
	failures atomic.Int64
}

func (r *rotation) get() *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pair
}

// look is how often due dates are looked at: clocks may jump.
const look = time.Minute

func (r *rotation) run(ctx context.Context) error {
	luck := rand.Float64()
	for wait := time.Duration(0); ; {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pair := r.get()
		if pair != nil && (r.again == nil || !r.again(pair)) {
			if wait = pause(pair.Leaf, time.Now(), luck); wait > 0 {
				continue
			}
		}
		want := r.want()
		if want.empty() { // it is not known yet what for
			wait = time.Second
			continue
		}
		cert, key, err := want.Ask(ctx, r.api)
		if err != nil && r.expired != nil && pair != nil && time.Now().After(pair.Leaf.NotAfter) {
			cert, key, err = r.expired(ctx)
		}
		if err == nil {
			pair, err = r.store.Save(cert, key)
		}
		if err != nil {
			if ctx.Err() == nil {
				r.failures.Add(1)
				r.log.Warn("a certificate can't be renewed; trying again", zap.String("certificate", r.name), zap.Error(err))
			}
			wait = look / 4
			continue
		}
		luck, wait = rand.Float64(), time.Second // then it is seen when the next is due
		r.mu.Lock()
		r.pair = pair
		r.mu.Unlock()
		r.log.Info("certificate renewed", zap.String("certificate", r.name), zap.Time("until", pair.Leaf.NotAfter))
	}
}
