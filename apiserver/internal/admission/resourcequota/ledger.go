package resourcequota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// ledger writes charges. Those of one namespace that come while a write is
// under way are put together and written as one: many pods at once cost a few
// writes of the quota, not one each.
type ledger struct {
	store  storage.Store
	quotas *scheme.Resource

	mu sync.Mutex
	// guarded by mu: charges that wait, by namespace; a namespace is present
	// while its goroutine runs.
	waiting map[string][]*entry
}

// entry is one charge.
type entry struct {
	*ask
	quotas []string
	dryRun bool
	done   chan struct{}
	// These are set before done is closed. refused is the quota's no; err is trouble.
	refused, err error
	refusedBy    string   // the quota
	owed, paid   []string // quotas with a charge that is yet to be written, and written ones
}

func newLedger(store storage.Store, quotas *scheme.Resource) *ledger {
	return &ledger{store: store, quotas: quotas, waiting: map[string][]*entry{}}
}

// chargeTimeout bounds the writes for one batch.
const chargeTimeout = 10 * time.Second

// charge also tells the quotas that were charged.
func (l *ledger) charge(ctx context.Context, namespace string, quotas []string, q *ask, dryRun bool) (paid []string, refused, err error) {
	e := &entry{ask: q, quotas: quotas, dryRun: dryRun, done: make(chan struct{})}
	l.mu.Lock()
	batch, running := l.waiting[namespace]
	l.waiting[namespace] = append(batch, e)
	l.mu.Unlock()
	if !running {
		go l.run(context.WithoutCancel(ctx), namespace)
	}
	select {
	case <-e.done:
		return e.paid, e.refused, e.err
	case <-ctx.Done():
		// It may be charged all the same: the controller puts that right.
		return nil, nil, apierrors.NewTimeoutError("the quota could not be charged in time", 1)
	}
}

// run writes batches until none waits.
func (l *ledger) run(ctx context.Context, namespace string) {
	for {
		l.mu.Lock()
		batch := l.waiting[namespace]
		if len(batch) == 0 {
			delete(l.waiting, namespace)
			l.mu.Unlock()
			return
		}
		l.waiting[namespace] = nil
		l.mu.Unlock()
		bounded, cancel := context.WithTimeout(ctx, chargeTimeout)
		l.settle(bounded, namespace, batch)
		cancel()
		for _, e := range batch {
			close(e.done)
		}
	}
}

// page is a quota as the batch sees it.
type page struct {
	stored *storage.Object
	quota  *corev1.ResourceQuota
	// fresh pages were read past the cache, or come from a conflict.
	fresh bool
	used  amounts // after the charges so far; nil when there are none
}

// settle decides a batch and writes each quota once, again while others are
// faster.
func (l *ledger) settle(ctx context.Context, namespace string, batch []*entry) {
	pages := map[string]*page{}
	for {
		for _, e := range batch {
			if e.refused == nil && e.err == nil {
				l.decide(ctx, namespace, pages, e)
			}
		}
		again := false
		for name, p := range pages {
			if p == nil || p.used == nil {
				continue
			}
			next, err := l.write(ctx, p)
			switch {
			case err != nil:
				fail(batch, name, err)
			case next != nil: // someone was faster
				if !p.fresh {
					reopen(batch, name)
				}
				pages[name], again = next, true
				continue
			}
			for _, e := range batch {
				if slices.Contains(e.owed, name) {
					e.paid = append(e.paid, name)
				}
			}
			delete(pages, name)
		}
		if !again {
			return
		}
		// Those who are not through are decided again, on the newer pages.
		for _, p := range pages {
			if p != nil {
				p.used = nil
			}
		}
	}
}

// reopen takes back refusals that rest on a page that turned out to be old.
func reopen(batch []*entry, quota string) {
	for _, e := range batch {
		if e.refusedBy == quota {
			e.refused, e.refusedBy = nil, ""
		}
	}
}

// fail tells the entries that needed the quota.
func fail(batch []*entry, quota string, err error) {
	for _, e := range batch {
		if e.refused == nil && slices.Contains(e.quotas, quota) {
			e.err = err
		}
	}
}

// decide charges an entry to all its quotas or to none. What every quota asks
// of the object comes before what any has room for.
func (l *ledger) decide(ctx context.Context, namespace string, pages map[string]*page, e *entry) {
	e.owed = nil
	charges := make(map[*page]amounts, len(e.quotas))
	for _, rule := range [...]rule{requirements, charge} {
		for _, name := range e.quotas {
			if slices.Contains(e.paid, name) {
				continue
			}
			p, used, err := l.try(ctx, namespace, name, pages, e, rule)
			if err != nil || e.refused != nil {
				e.err = err
				return
			}
			if used != nil {
				charges[p] = used
			}
		}
	}
	if e.dryRun {
		return
	}
	for p, used := range charges {
		p.used = used
		e.owed = append(e.owed, p.quota.Name)
	}
}

// try puts a rule to a quota. A refusal that rests on the cache is looked at
// again on a fresh read; or, when the page has charges by now, when writing
// them shows that it was old.
func (l *ledger) try(ctx context.Context, namespace, name string, pages map[string]*page, e *entry, rule rule) (*page, amounts, error) {
	for fresh := false; ; fresh = true {
		p, err := l.page(ctx, namespace, name, pages, fresh)
		if err != nil || p == nil { // a quota that is gone says nothing
			return nil, nil, err
		}
		quota := p.quota
		if p.used != nil {
			c := *quota
			c.Status.Used = p.used
			quota = &c
		}
		used, refused := rule(quota, e.ask)
		if refused == nil || p.fresh || p.used != nil || fresh {
			if e.refused = refused; refused != nil {
				e.refusedBy = name
			}
			return p, used, nil
		}
	}
}

// page gives a quota's page; nil when the quota is gone.
func (l *ledger) page(ctx context.Context, namespace, name string, pages map[string]*page, fresh bool) (*page, error) {
	if p, ok := pages[name]; ok && (!fresh || p == nil || p.fresh) {
		return p, nil
	}
	c := l.store.Collection(l.quotas)
	var stored *storage.Object
	if !fresh {
		stored = c.Newest(namespace, name)
	}
	if stored == nil {
		var err error
		fresh = true
		stored, err = c.Get(ctx, namespace, name, storage.Fresh, 0)
		if errors.Is(err, storage.ErrNotFound) {
			pages[name] = nil
			return nil, nil
		}
		if err != nil {
			return nil, trouble(err)
		}
	}
	p, err := newPage(stored, fresh)
	if err == nil {
		pages[name] = p
	}
	return p, err
}

func newPage(stored *storage.Object, fresh bool) (*page, error) {
	quota := &corev1.ResourceQuota{}
	if err := quota.Unmarshal(stored.Raw); err != nil {
		return nil, trouble(err)
	}
	return &page{stored: stored, quota: quota, fresh: fresh}, nil
}

// write stores a page's charges. When another writer was faster it gives the
// page to decide on instead.
func (l *ledger) write(ctx context.Context, p *page) (next *page, err error) {
	p.quota.Status.Used = p.used
	raw, err := p.quota.Marshal()
	if err != nil {
		return nil, trouble(err)
	}
	_, err = l.store.Collection(l.quotas).Update(ctx, p.stored, raw, 0)
	var conflict *storage.Conflict
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &conflict):
		return nil, trouble(err)
	case conflict.Current == nil: // the quota is gone, and with it its no
		return nil, nil
	}
	return newPage(conflict.Current, true)
}

func trouble(err error) error {
	return apierrors.NewInternalError(fmt.Errorf("charge the resource quota: %w", err))
}
