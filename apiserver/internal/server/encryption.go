package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/health"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/storage/encrypt"
	"xebec.dev/apiserver/internal/storage/encrypt/kms"
	"xebec.dev/apiserver/internal/storage/value"
)

// encryption is --encryption-provider-config, as it was at the start or as it
// is now.
type encryption struct {
	file *reload.File[keys]
	// following is true when the file is read again.
	following bool
}

// keys are one version of the file.
type keys struct {
	*encrypt.Config
	// since is the revision that the cache had reached when they came, or when
	// a service changed its key: what is older was judged by other keys.
	since *atomic.Int64
}

// closeAfter is how long the services of a file that was replaced may be
// needed by what has begun.
const closeAfter = time.Minute

func (s *Server) encryption() (*encryption, error) {
	path := s.cfg.Etcd.EncryptionConfig
	if path == "" {
		return nil, nil
	}
	e := &encryption{following: s.cfg.Etcd.EncryptionReload}
	measure := kms.NewMetrics(s.metrics.Registerer())
	var before *encrypt.Config
	parse := func(text []byte) (keys, error) {
		k := keys{since: new(atomic.Int64)}
		var err error
		k.Config, err = encrypt.Parse(text, encrypt.Options{Metrics: measure, Changed: func(recovered bool) {
			k.since.Store(s.reached())
			if recovered {
				s.readAgain(k.Config)
			}
		}})
		if err != nil {
			return keys{}, err
		}
		if before != nil {
			// What cannot encrypt now must not replace what can.
			if err := k.Healthy(context.Background()); err != nil {
				k.Close()
				return keys{}, err
			}
			time.AfterFunc(closeAfter, before.Close)
		}
		before = k.Config
		k.since.Store(s.reached())
		return k, nil
	}
	var err error
	if e.following {
		e.file, err = reload.Open(path, parse, s.troubled("encryption at rest"))
		if err == nil {
			e.file.Counted(reload.NewCounts("encryption", s.metrics.Registerer()))
		}
	} else if text, readErr := os.ReadFile(path); readErr != nil {
		err = readErr
	} else {
		var k keys
		k, err = parse(text)
		e.file = reload.Of(k)
	}
	if err != nil {
		return nil, fmt.Errorf("--encryption-provider-config: %s: %w", path, err)
	}
	if e.following || e.file.Get().Services() {
		s.health.Add(health.Check{Name: "kms-providers", Func: func(ctx context.Context) error { return e.file.Get().Healthy(ctx) }})
	}
	return e, nil
}

// readAgain reads what is encrypted once more from etcd: some of it could not
// be decrypted when it was read.
func (s *Server) readAgain(c *encrypt.Config) {
	for _, r := range s.scheme.Resources() {
		if r.StoragePrefix != "" && c.Transformer(r) != nil {
			s.store.Redefine(r)
		}
	}
}

// reached is the newest revision in the cache.
func (s *Server) reached() (newest int64) {
	if s.store == nil {
		return 0
	}
	for _, r := range s.scheme.Resources() {
		if r.StoragePrefix != "" {
			newest = max(newest, s.store.Collection(r).Changed())
		}
	}
	return newest
}

// transformer encrypts a resource by the keys of the moment.
func (e *encryption) transformer(r *scheme.Resource) value.Transformer { return following{e.file, r} }

// staleBefore is the revision up to which cached objects may be stored with
// other keys than those of now.
func (e *encryption) staleBefore() int64 { return e.file.Get().since.Load() }

type following struct {
	file *reload.File[keys]
	r    *scheme.Resource
}

func (f following) ToStorage(data []byte, path string) ([]byte, error) {
	if t := f.file.Get().Transformer(f.r); t != nil {
		return t.ToStorage(data, path)
	}
	return data, nil
}

var errNoKeys = errors.New("it is encrypted and no key is configured for the resource")

func (f following) FromStorage(data []byte, path string) ([]byte, bool, error) {
	if t := f.file.Get().Transformer(f.r); t != nil {
		return t.FromStorage(data, path)
	}
	if bytes.HasPrefix(data, []byte("k8s:enc:")) {
		return nil, false, errNoKeys
	}
	return data, false, nil
}
