package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// keyPair is a serving certificate that follows its files.
type keyPair struct {
	cert, key string

	mu sync.Mutex
	// guarded by mu
	loaded  *tls.Certificate
	changed time.Time // newest modification time of the files loaded
	checked time.Time
}

// checkFiles is how often a handshake looks whether the files have changed.
const checkFiles = 10 * time.Second

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded != nil && time.Since(k.checked) < checkFiles {
		return k.loaded, nil
	}
	k.checked = time.Now()
	changed, err := newest(k.cert, k.key)
	if err == nil && k.loaded != nil && !changed.After(k.changed) {
		return k.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.loaded != nil {
			return k.loaded, nil // half-written files: go on with the old pair
		}
		return nil, fmt.Errorf("serving certificate %s, %s: %w", k.cert, k.key, err)
	}
	k.loaded, k.changed = &pair, changed
	return k.loaded, nil
}

// namedPair is a pair for names that clients ask for.
type namedPair struct {
	keyPair
	names []string // the certificate's own when empty
}

// namedPairs reads --tls-sni-cert-key. Of several that fit the last is taken.
func namedPairs(texts []string) ([]*namedPair, error) {
	var out []*namedPair
	for _, text := range texts {
		files, names, _ := strings.Cut(text, ":")
		cert, key, ok := strings.Cut(files, ",")
		if !ok || cert == "" || key == "" {
			return nil, fmt.Errorf("--tls-sni-cert-key: %q is neither CERT,KEY nor CERT,KEY:NAME,NAME", text)
		}
		p := &namedPair{keyPair: keyPair{cert: cert, key: key}}
		if names != "" {
			p.names = strings.Split(names, ",")
		}
		if _, err := p.get(nil); err != nil {
			return nil, fmt.Errorf("--tls-sni-cert-key: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// fits reports whether a client that asks for a name gets this pair.
func (p *namedPair) fits(name string, loaded *tls.Certificate) bool {
	if len(p.names) == 0 {
		return loaded.Leaf != nil && loaded.Leaf.VerifyHostname(name) == nil
	}
	_, domain, _ := strings.Cut(name, ".")
	for _, n := range p.names {
		if strings.EqualFold(n, name) || domain != "" && strings.EqualFold(n, "*."+domain) {
			return true
		}
	}
	return false
}

func choose(named []*namedPair, otherwise *keyPair) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(named) == 0 {
		return otherwise.get
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, p := range slices.Backward(named) {
			if c, err := p.get(hello); err == nil && hello.ServerName != "" && p.fits(hello.ServerName, c) {
				return c, nil
			}
		}
		return otherwise.get(hello)
	}
}

func newest(paths ...string) (time.Time, error) {
	var t time.Time
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return t, err
		}
		if info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t, nil
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}

// cipherSuites turns names into ids; unknown and insecure ones are refused.
func cipherSuites(names []string) ([]uint16, error) {
	var ids []uint16
next:
	for _, name := range names {
		for _, s := range tls.CipherSuites() {
			if s.Name == name {
				ids = append(ids, s.ID)
				continue next
			}
		}
		return nil, fmt.Errorf("--tls-cipher-suites: %q is not one of Go's secure cipher suites", name)
	}
	return ids, nil
}
