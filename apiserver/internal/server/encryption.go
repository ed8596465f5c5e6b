package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/storage/encrypt"
	"xebec.dev/apiserver/internal/storage/value"
)

// encryption is --encryption-provider-config, as it was at the start or as it
// is now.
type encryption struct {
	file *reload.File[keys]
}

// keys are one version of the file.
type keys struct {
	*encrypt.Config
	// since is the revision that the cache had reached when they came: what
	// is older was judged by other keys.
	since int64
}

func (s *Server) encryption() (*encryption, error) {
	path := s.cfg.Etcd.EncryptionConfig
	if path == "" {
		return nil, nil
	}
	parse := func(text []byte) (keys, error) {
		c, err := encrypt.Parse(text)
		return keys{c, s.reached()}, err
	}
	var err error
	e := &encryption{}
	if s.cfg.Etcd.EncryptionReload {
		e.file, err = reload.Open(path, parse, s.troubled("encryption at rest"))
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
	return e, nil
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
func (e *encryption) staleBefore() int64 { return e.file.Get().since }

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
