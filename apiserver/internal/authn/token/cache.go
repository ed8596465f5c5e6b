package token

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/authn"
)

// Cache remembers answers about tokens for a short time. Tokens are kept as
// keyed hashes. Requests with one token at one moment share one look.
type Cache struct {
	tokens           authn.TokenAuthenticator
	success, failure time.Duration
	now              func() time.Time
	secret           [32]byte
	metrics          *cacheMetrics

	mu sync.Mutex
	// guarded by mu.
	entries map[[sha256.Size]byte]*cached
}

type cached struct {
	done  chan struct{}
	id    *authn.Identity
	err   error
	until time.Time // zero while under way
}

// maxCached bounds the memory; when full, what has expired goes, or else all.
const maxCached = 16384

// NewCache makes a cache; a time of 0 does not keep that kind of answer.
func NewCache(tokens authn.TokenAuthenticator, success, failure time.Duration) *Cache {
	c := &Cache{tokens: tokens, success: success, failure: failure, now: time.Now, entries: map[[sha256.Size]byte]*cached{}}
	if _, err := rand.Read(c.secret[:]); err != nil {
		panic(err) // no entropy: nothing here can be safe
	}
	return c
}

func (c *Cache) key(token string, audiences []string) (k [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.secret[:])
	h.Write([]byte(token))
	h.Write([]byte{0})
	h.Write([]byte(strings.Join(audiences, "\x00")))
	h.Sum(k[:0])
	return k
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (c *Cache) AuthenticateToken(ctx context.Context, token string, audiences []string) (*authn.Identity, error) {
	start, hit := time.Now(), false
	defer func() { c.metrics.answered(hit, time.Since(start)) }()
	k := c.key(token, audiences)
	for {
		e, mine, known := c.entry(k)
		if mine {
			return c.look(ctx, k, e, token, audiences)
		}
		if hit = known; !known {
			waited := c.metrics.during("blocked")
			select {
			case <-e.done:
				waited()
			case <-ctx.Done():
				waited()
				return nil, ctx.Err()
			}
		}
		// A look that its own caller gave up says nothing about the token.
		if e.err == nil || e.err != context.Canceled && e.err != context.DeadlineExceeded {
			return e.id, e.err
		}
	}
}

// entry finds or begins one; mine must be looked up by the caller, known has
// its answer.
func (c *Cache) entry(k [sha256.Size]byte) (e *cached, mine, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.entries[k]; e != nil && (e.until.IsZero() || c.now().Before(e.until)) {
		return e, false, !e.until.IsZero()
	}
	if len(c.entries) >= maxCached {
		c.evict()
	}
	e = &cached{done: make(chan struct{})}
	c.entries[k] = e
	return e, true, false
}

func (c *Cache) evict() {
	now := c.now()
	for k, e := range c.entries {
		if !e.until.IsZero() && !now.Before(e.until) {
			delete(c.entries, k)
		}
	}
	if len(c.entries) >= maxCached {
		clear(c.entries)
	}
}

func (c *Cache) look(ctx context.Context, k [sha256.Size]byte, e *cached, token string, audiences []string) (*authn.Identity, error) {
	keep := time.Duration(0)
	ended := c.metrics.during("in_flight")
	defer func() {
		ended()
		c.metrics.looked(e.err)
		c.mu.Lock()
		defer c.mu.Unlock()
		e.until = c.now().Add(keep)
		if keep <= 0 && c.entries[k] == e {
			delete(c.entries, k)
		}
		close(e.done)
	}()
	e.err = context.Canceled // in case of a panic
	e.id, e.err = c.tokens.AuthenticateToken(ctx, token, audiences)
	switch {
	case ctx.Err() != nil:
		e.err = ctx.Err()
	case e.err == nil && e.id != nil:
		keep = c.success
	case e.err == nil:
		// Nobody's: a plain no, as opposed to a failure to find out.
		keep = c.failure
	}
	return e.id, e.err
}
