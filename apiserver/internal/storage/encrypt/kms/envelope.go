package kms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"xebec.dev/apiserver/internal/identity"
	pb "xebec.dev/proto/gen/plugin/kms/v2"
)

// How often the plugin is asked whether it is well and which its key is, and
// how long values are encrypted without an answer.
const (
	askWell = time.Minute
	askIll  = 10 * time.Second
	seedTTL = 3 * time.Minute
)

// Options of a provider.
type Options struct {
	Name, Endpoint string
	// Timeout of one call.
	Timeout time.Duration
	Metrics *Metrics
	// Changed, when set, is told in a goroutine of its own that values are
	// encrypted with another key from now on, or that values can be read that
	// could not.
	Changed func(recovered bool)

	now func() time.Time
}

// Provider encrypts with a seed of its own, which the plugin encrypts once,
// and decrypts what any server's seed has encrypted. Nothing goes on in the
// background: who encrypts, or asks for its health, has the plugin asked.
type Provider struct {
	o      Options
	plugin *plugin

	mu sync.Mutex
	// guarded by mu.
	current *state
	expires time.Time // of current
	asked   time.Time
	trouble error
	asking  chan struct{}
	// seeds are those that the plugin decrypted, by their encrypted form.
	seeds map[[sha256.Size]byte][]byte
	// refused is when the plugin last could not decrypt, and why.
	refused time.Time
	reason  error
	// missed is set when a value could not be read for that; waiting while a
	// goroutine waits for the plugin.
	missed, waiting bool
	closed          chan struct{}
}

// state is what values are encrypted with.
type state struct {
	seed   []byte
	object *pb.EncryptedObject // without data
	// The first uses are told in metrics.
	encrypted, decrypted sync.Once
}

const (
	seedSize = 32
	infoSize = 32
	// maxSeeds bounds the memory; a full map is emptied.
	maxSeeds = 1000
)

// New makes a provider. The plugin need not be there yet.
func New(o Options) (*Provider, error) {
	p, err := newPlugin(o.Name, o.Endpoint, o.Timeout)
	if err != nil {
		return nil, err
	}
	if o.now == nil {
		o.now = time.Now
	}
	p.metrics = o.Metrics
	return &Provider{o: o, plugin: p, seeds: map[[sha256.Size]byte][]byte{}, closed: make(chan struct{})}, nil
}

// Close ends the connection.
func (p *Provider) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
		_ = p.plugin.conn.Close() // nothing is lost
	}
}

// Encrypt makes the stored form of a value, bound to its key's path.
func (p *Provider) Encrypt(data []byte, path string) ([]byte, error) {
	s, err := p.writable()
	if err != nil {
		return nil, err
	}
	sealed, err := seal(s.seed, data, path)
	if err != nil {
		return nil, err
	}
	o := &pb.EncryptedObject{
		EncryptedData: sealed, KeyId: s.object.KeyId, EncryptedDekSource: s.object.EncryptedDekSource,
		Annotations: s.object.Annotations, EncryptedDekSourceType: s.object.EncryptedDekSourceType,
	}
	s.encrypted.Do(func() { p.o.Metrics.keyUsed(p.o.Name, "to_storage", o.KeyId, p.o.now()) })
	return proto.Marshal(o)
}

var errMalformed = errors.New("the value is not what a KMS v2 provider writes")

// Decrypt undoes Encrypt. Stale means that another key is in use now.
func (p *Provider) Decrypt(data []byte, path string) (out []byte, stale bool, err error) {
	var o pb.EncryptedObject
	if err := proto.Unmarshal(data, &o); err != nil {
		return nil, false, errMalformed
	}
	if err := check(&o); err != nil {
		return nil, false, fmt.Errorf("%w: %w", errMalformed, err)
	}
	source, current, err := p.source(&o)
	if err == nil && current == nil {
		// Whether the value is stale depends on which key is the plugin's now.
		_ = p.Healthy(context.Background()) // trouble is the health check's to tell
		p.mu.Lock()
		current = p.current
		p.mu.Unlock()
	}
	if err != nil {
		return nil, false, err
	}
	if o.EncryptedDekSourceType == pb.SourceType_AES_GCM_KEY {
		out, err = openWith(source, o.EncryptedData, path)
	} else {
		out, err = open(source, o.EncryptedData, path)
	}
	if err != nil {
		return nil, false, err
	}
	if current != nil && o.KeyId == current.object.KeyId {
		current.decrypted.Do(func() { p.o.Metrics.keyUsed(p.o.Name, "from_storage", o.KeyId, p.o.now()) })
	}
	stale = current != nil && (o.KeyId != current.object.KeyId || o.EncryptedDekSourceType != current.object.EncryptedDekSourceType)
	return out, stale, nil
}

func check(o *pb.EncryptedObject) error {
	if len(o.EncryptedData) == 0 {
		return errors.New("encrypted data is empty")
	}
	if n := len(o.EncryptedDekSource); n == 0 || n > maxCiphertext {
		return fmt.Errorf("the encrypted DEK source has %d bytes", n)
	}
	if t := o.EncryptedDekSourceType; t != pb.SourceType_AES_GCM_KEY && t != pb.SourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED {
		return fmt.Errorf("unknown encryptedDEKSourceType: %d", t)
	}
	if err := checkKeyID(o.KeyId); err != nil {
		return err
	}
	return checkAnnotations(o.Annotations)
}

// source is the decrypted key or seed of a value, and what is encrypted with
// now, if that is known.
func (p *Provider) source(o *pb.EncryptedObject) ([]byte, *state, error) {
	key := sourceKey(o)
	p.mu.Lock()
	source, current, err := p.seeds[key], p.current, p.reason
	recent := !p.refused.IsZero() && p.o.now().Sub(p.refused) < time.Second
	if source == nil && recent {
		// One try a second, however many values wait for it.
		p.miss()
	}
	p.mu.Unlock()
	switch {
	case source != nil:
		return source, current, nil
	case recent:
		return nil, nil, err
	}
	source, err = p.plugin.decrypt(o)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if unavailable(err) {
			p.refused, p.reason = p.o.now(), err
			p.miss()
		}
		return nil, nil, err
	}
	p.refused = time.Time{}
	p.remember(key, source)
	return source, p.current, nil
}

// remember needs mu.
func (p *Provider) remember(key [sha256.Size]byte, source []byte) {
	if len(p.seeds) >= maxSeeds {
		clear(p.seeds)
	}
	p.seeds[key] = source
	p.o.Metrics.cached(p.o.Name, len(p.seeds))
}

// sourceKey tells encrypted sources apart by all that the plugin decrypts
// them by.
func sourceKey(o *pb.EncryptedObject) [sha256.Size]byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.EncryptedObject{
		KeyId: o.KeyId, EncryptedDekSource: o.EncryptedDekSource, Annotations: o.Annotations,
	})
	if err != nil {
		panic(err) // of a message that was read
	}
	return sha256.Sum256(b)
}

// seal makes info, nonce and text, with a key made of the seed and the info:
// a random nonce alone would wear a key out after 2^32 values.
func seal(seed, data []byte, path string) ([]byte, error) {
	out := make([]byte, infoSize, infoSize+12+len(data)+16)
	if _, err := rand.Read(out); err != nil {
		return nil, err
	}
	aead, err := derive(seed, out)
	if err != nil {
		return nil, err
	}
	out = out[:infoSize+aead.NonceSize()]
	nonce := out[infoSize:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(out, nonce, data, []byte(path)), nil
}

var (
	errShort = errors.New("the encrypted value is too short")
	errOpen  = errors.New("the encrypted value is not authentic")
)

func open(seed, data []byte, path string) ([]byte, error) {
	if len(data) < infoSize {
		return nil, errShort
	}
	aead, err := derive(seed, data[:infoSize])
	if err != nil {
		return nil, err
	}
	return openAEAD(aead, data[infoSize:], path)
}

func derive(seed, info []byte) (cipher.AEAD, error) {
	if len(seed) != seedSize {
		return nil, fmt.Errorf("the seed has %d bytes, not %d", len(seed), seedSize)
	}
	key, err := hkdf.Expand(sha256.New, seed, string(info), 32)
	if err != nil {
		return nil, err
	}
	return gcm(key)
}

func openWith(key, data []byte, path string) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return openAEAD(aead, data, path)
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func openAEAD(aead cipher.AEAD, data []byte, path string) ([]byte, error) {
	n := aead.NonceSize()
	if len(data) < n {
		return nil, errShort
	}
	out, err := aead.Open(nil, data[:n], data[n:], []byte(path))
	if err != nil {
		return nil, errOpen
	}
	return out, nil
}

func hash(id string) string { return identity.HashOf(id) }
