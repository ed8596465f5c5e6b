package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
)

func freeURL(t *testing.T, scheme string) url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: scheme, Host: l.Addr().String()}
}

// members starts an etcd cluster and returns its members and endpoints.
func members(t *testing.T, n int, change func(*embed.Config)) ([]*embed.Etcd, []string) {
	configs := make([]*embed.Config, n)
	var initial, endpoints []string
	for i := range configs {
		c := embed.NewConfig()
		c.Name = fmt.Sprint("m", i)
		c.Dir = t.TempDir()
		c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		peer, client := freeURL(t, "http"), freeURL(t, "http")
		c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		c.UnsafeNoFsync = true
		c.TickMs, c.ElectionMs = 50, 500
		if change != nil {
			change(c)
		}
		initial = append(initial, c.Name+"="+peer.String())
		endpoints = append(endpoints, c.AdvertiseClientUrls[0].String())
		configs[i] = c
	}
	var all []*embed.Etcd
	t.Cleanup(func() {
		for _, e := range all {
			if e != nil { // not closed by the test
				e.Close()
			}
		}
	})
	for _, c := range configs {
		c.InitialCluster = strings.Join(initial, ",")
		e, err := embed.StartEtcd(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	for _, e := range all {
		<-e.Server.ReadyNotify()
	}
	return all, endpoints
}

// When the leader dies, writes and the feed go on with another member.
func TestLeaderDies(t *testing.T) {
	all, endpoints := members(t, 3, nil)
	s, err := etcd.New(etcd.Config{Endpoints: endpoints, RequestTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	put := func(i int) error {
		_, _, err := s.Apply(ctx, []kv.Write{{Key: fmt.Sprintf("x/%04d", i), Value: []byte("v"), Compare: kv.Anything}})
		return err
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10000)
	go follow(s, seen)
	for i, e := range all {
		if e.Server.Leader() == e.Server.MemberID() {
			e.Server.HardStop() // without handing over
			e.Close()
			all[i] = nil
			break
		}
	}
	began := time.Now()
	for err := put(1); err != nil; err = put(1) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("no write succeeded after the leader died: %v", err)
		}
	}
	t.Logf("the write gap was %v", time.Since(began).Round(time.Millisecond))
	for i := 2; i < 50; i++ {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		select {
		case key := <-seen:
			if want := fmt.Sprintf("x/%04d", i); key != want {
				t.Fatalf("the feed brings %s, want %s", key, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the feed stopped before %d", i)
		}
	}
}

// follow passes keys on as the watch cache follows: it resumes a feed that
// broke.
func follow(s *etcd.Store, seen chan<- string) {
	after := int64(1)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		feed, err := s.Watch(ctx, after)
		for err == nil {
			var b kv.Batch
			if b, err = feed.Recv(); err != nil {
				break
			}
			for _, e := range b.Events {
				if len(seen) > 0 || e.Revision > after {
					seen <- e.Key
				}
			}
			after = max(after, b.Revision)
		}
		cancel()
		if ctx.Err() == context.DeadlineExceeded {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// authority makes certificates in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "ca"}}
	a.key = a.issue(t, "ca", a.cert)
	return a
}

func (a *authority) issue(t *testing.T, name string, c *x509.Certificate) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	a.issue(t, "server", &x509.Certificate{ExtKeyUsage: usage, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.issue(t, "client", &x509.Certificate{ExtKeyUsage: usage, Subject: pkix.Name{CommonName: "apiserver"}})
	_, endpoints := members(t, 1, func(c *embed.Config) {
		u := freeURL(t, "https")
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: a.file("server.crt"), KeyFile: a.file("server.key"),
			TrustedCAFile: a.file("ca.crt"), ClientCertAuth: true,
		}
	})
	ctx := context.Background()
	good := etcd.Config{Endpoints: endpoints, CAFile: a.file("ca.crt"), CertFile: a.file("client.crt"), KeyFile: a.file("client.key"), RequestTimeout: 2 * time.Second}
	s, err := etcd.New(good)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.Apply(ctx, []kv.Write{{Key: "x", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	bad := good
	bad.CertFile, bad.KeyFile = "", ""
	anonymous, err := etcd.New(bad)
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.Close()
	if _, err := anonymous.Revision(ctx); err == nil {
		t.Error("etcd lets in who has no certificate")
	}
	bad = good
	bad.CAFile = a.file("nothing.crt")
	if _, err := etcd.New(bad); err == nil {
		t.Error("a missing CA file is no error")
	}
}
