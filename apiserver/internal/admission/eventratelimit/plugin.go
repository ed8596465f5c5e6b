// Package eventratelimit bounds how fast events are written.
package eventratelimit

import (
	"container/list"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements EventRateLimit.
type Plugin struct {
	now      func() time.Time
	limiters []*limiter
}

// New makes the plugin.
func New(limits []Limit) *Plugin {
	p := &Plugin{now: time.Now}
	for _, l := range limits {
		p.limiters = append(p.limiters, &limiter{Limit: l, buckets: map[string]*list.Element{}, recent: list.New()})
	}
	return p
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "EventRateLimit" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator. Every limit is charged, also when
// another refuses.
func (p *Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	if !isEvent(a.Object) || a.DryRun {
		return nil
	}
	now := p.now()
	var over []string
	for _, l := range p.limiters {
		key := l.key(a)
		if !l.take(key, now) {
			over = append(over, fmt.Sprintf("limit reached on type %v for key %v", l.Type, key))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return apierrors.NewTooManyRequestsError(strings.Join(over, ", "))
}

func isEvent(o runtime.Object) bool {
	switch o.(type) {
	case *corev1.Event, *eventsv1.Event:
		return true
	}
	return false
}

// limiter is one limit with the buckets of the keys last seen.
type limiter struct {
	Limit

	mu sync.Mutex
	// guarded by mu: recent holds *bucket, the last used first.
	buckets map[string]*list.Element
	recent  *list.List
}

type bucket struct {
	key    string
	tokens float64
	at     time.Time
}

func (l *limiter) key(a *admission.Attributes) string {
	switch l.Type {
	case Namespace:
		return a.Namespace
	case User:
		return a.User.Name
	case SourceAndObject:
		if e, ok := a.Object.(*corev1.Event); ok {
			o := &e.InvolvedObject
			return strings.Join([]string{e.Source.Component, e.Source.Host, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "")
		}
		e := a.Object.(*eventsv1.Event)
		o := &e.Regarding
		return strings.Join([]string{e.ReportingController, e.ReportingInstance, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "")
	}
	return ""
}

func (l *limiter) take(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key, now)
	b.tokens = min(float64(l.Burst), b.tokens+now.Sub(b.at).Seconds()*float64(l.QPS))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) bucket(key string, now time.Time) *bucket {
	if e, ok := l.buckets[key]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if l.recent.Len() >= int(l.CacheSize) {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).key)
	}
	b := &bucket{key: key, tokens: float64(l.Burst), at: now}
	l.buckets[key] = l.recent.PushFront(b)
	return b
}
