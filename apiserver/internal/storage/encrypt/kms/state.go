package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "xebec.dev/proto/gen/plugin/kms/v2"
)

// writable is what to encrypt with. As long as there is something, the plugin
// is asked beside the write that finds it is time.
func (p *Provider) writable() (*state, error) {
	now := p.o.now()
	p.mu.Lock()
	s, due, good := p.current, p.due(now), now.Before(p.expires)
	p.mu.Unlock()
	if s != nil && good {
		if due {
			go func() { _ = p.refresh() }() // told by Healthy
		}
		return s, nil
	}
	err := p.refresh()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s = p.current; s != nil && p.o.now().Before(p.expires) {
		return s, nil
	}
	if s != nil {
		return nil, fmt.Errorf("EncryptedDEKSource with keyID hash %q expired at %s: %w", hash(s.object.KeyId), p.expires.Format(time.RFC3339), err)
	}
	return nil, fmt.Errorf("no key to encrypt with yet: %w", err)
}

// due reports whether the plugin is to be asked. It needs mu.
func (p *Provider) due(now time.Time) bool {
	every := askWell
	if p.trouble != nil {
		every = askIll
	}
	return p.asking == nil && (p.asked.IsZero() || now.Sub(p.asked) >= every)
}

// Times for which an answer about health is not asked for again.
const (
	wellTTL = 20 * time.Second
	illTTL  = 3 * time.Second
)

// Healthy asks the plugin, unless it has lately answered.
func (p *Provider) Healthy(context.Context) error {
	p.mu.Lock()
	ttl := wellTTL
	if p.trouble != nil {
		ttl = illTTL
	}
	recent := !p.asked.IsZero() && p.o.now().Sub(p.asked) < ttl
	trouble := p.trouble
	p.mu.Unlock()
	if recent {
		return trouble
	}
	return p.refresh()
}

// refresh asks the plugin for its key, and makes a new seed when that is
// another. One call serves all who want it.
func (p *Provider) refresh() error {
	p.mu.Lock()
	if asking := p.asking; asking != nil {
		p.mu.Unlock()
		<-asking
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.trouble
	}
	asking, before := make(chan struct{}), p.current
	p.asking = asking
	p.mu.Unlock()

	s, err := p.renew(before)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.trouble, p.asking = p.o.now(), err, nil
	close(asking)
	if err != nil {
		return err
	}
	p.current, p.expires = s, p.asked.Add(seedTTL)
	p.o.Metrics.keyStatus(p.o.Name, s.object.KeyId, p.asked)
	if s != before {
		p.remember(sourceKey(s.object), s.seed)
		if before != nil {
			p.tell(false)
		}
	}
	return nil
}

// renew is the state to go on with: the one before when its key is still the
// plugin's.
func (p *Provider) renew(before *state) (*state, error) {
	id, err := p.plugin.status()
	if err != nil {
		return nil, err
	}
	if before != nil && before.object.KeyId == id {
		return before, nil
	}
	seed := make([]byte, seedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	r, err := p.plugin.encrypt(seed)
	if err != nil {
		return nil, err
	}
	if r.KeyId != id {
		// It is changing keys just now: both must say the same.
		return nil, fmt.Errorf("failed to rotate DEK, statusKeyIDHash=%q, encryptKeyIDHash=%q", hash(id), hash(r.KeyId))
	}
	return &state{seed: seed, object: &pb.EncryptedObject{
		KeyId: id, EncryptedDekSource: r.Ciphertext, Annotations: r.Annotations,
		EncryptedDekSourceType: pb.SourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED,
	}}, nil
}

func (p *Provider) tell(recovered bool) {
	if p.o.Changed != nil {
		go p.o.Changed(recovered)
	}
}

// unavailable reports whether the plugin may answer another time, as opposed
// to one that says no.
func unavailable(err error) bool {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return false
	}
	switch s.GRPCStatus().Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted:
		return true
	}
	return false
}

// miss notes that a value could not be read because the plugin is away, and
// has that told when it is back. It needs mu.
func (p *Provider) miss() {
	p.missed = true
	if p.waiting || p.o.Changed == nil {
		return
	}
	p.waiting = true
	go p.wait()
}

// wait ends when the plugin is well again.
func (p *Provider) wait() {
	for {
		select {
		case <-p.closed:
			return
		case <-time.After(time.Second):
		}
		if p.refresh() != nil {
			continue
		}
		p.mu.Lock()
		p.waiting, p.refused = false, time.Time{}
		missed := p.missed
		p.missed = false
		p.mu.Unlock()
		if missed {
			p.o.Changed(true)
		}
		return
	}
}
