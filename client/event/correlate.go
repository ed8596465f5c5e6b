package event

import (
	"container/list"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kubernetes' numbers.
const (
	// remembered keys; the ones not used longest are forgotten.
	remembered = 4096
	// Events that differ in their message only are joined once there were
	// joinAfter of them within joinWindow.
	joinAfter  = 10
	joinWindow = 10 * time.Minute
	// Each source and object has a budget: at once, and then one every
	// budgetEvery.
	budget      = 25
	budgetEvery = 5 * time.Minute
	joinedText  = "(combined from similar events): "
)

// correlator decides what becomes of an event. It is a state machine without
// a clock.
type correlator struct {
	similar *recent[*similarity]
	seen    *recent[*observation]
	budgets *recent[*bucket]
}

type similarity struct {
	messages map[string]bool
	last     time.Time
}

// observation is an event that was sent.
type observation struct {
	name, resourceVersion string
	count                 int32
	first                 metav1.Time
}

// bucket is a budget of tokens.
type bucket struct {
	tokens float64
	at     time.Time
}

func newCorrelator() *correlator {
	return &correlator{similar: newRecent[*similarity](), seen: newRecent[*observation](), budgets: newRecent[*bucket]()}
}

// correlate gives the event to send, whether it repeats one that was sent, and
// false when the budget is used up.
func (c *correlator) correlate(e *corev1.Event, now time.Time) (out *corev1.Event, repeats, ok bool) {
	key := eventKey(e)
	if c.join(e, now) {
		e.Message = joinedText + e.Message
		key = similarKey(e)
	}
	if have, found := c.seen.get(key); found {
		e.Name, e.ResourceVersion = have.name, have.resourceVersion
		e.FirstTimestamp, e.Count = have.first, have.count+1
		repeats = true
	}
	c.seen.put(key, &observation{name: e.Name, resourceVersion: e.ResourceVersion, count: e.Count, first: e.FirstTimestamp})
	return e, repeats, c.spend(e, now)
}

// sent notes what the server has made of an event: it may have been given
// another name.
func (c *correlator) sent(e *corev1.Event) {
	if e == nil {
		return
	}
	key := eventKey(e)
	if strings.HasPrefix(e.Message, joinedText) {
		key = similarKey(e)
	}
	c.seen.put(key, &observation{name: e.Name, resourceVersion: e.ResourceVersion, count: e.Count, first: e.FirstTimestamp})
}

// join reports whether there were so many like events that they become one.
func (c *correlator) join(e *corev1.Event, now time.Time) bool {
	key := similarKey(e)
	s, ok := c.similar.get(key)
	if !ok || now.Sub(s.last) > joinWindow {
		s = &similarity{messages: map[string]bool{}}
	}
	s.last = now
	c.similar.put(key, s)
	if len(s.messages) < joinAfter {
		s.messages[e.Message] = true
	}
	return len(s.messages) >= joinAfter
}

// spend takes from the budget of the event's source and object.
func (c *correlator) spend(e *corev1.Event, now time.Time) bool {
	key := sourceKey(e)
	b, ok := c.budgets.get(key)
	if !ok {
		b = &bucket{tokens: budget, at: now}
	}
	b.tokens = min(budget, b.tokens+now.Sub(b.at).Seconds()/budgetEvery.Seconds())
	b.at = now
	c.budgets.put(key, b)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func sourceKey(e *corev1.Event) string {
	o := &e.InvolvedObject
	return strings.Join([]string{e.Source.Component, e.Source.Host, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "\x00")
}

// similarKey is all but the message.
func similarKey(e *corev1.Event) string {
	return sourceKey(e) + fmt.Sprintf("\x00%s\x00%s\x00%s\x00%s\x00%s", e.InvolvedObject.FieldPath, e.Type, e.Reason, e.ReportingController, e.ReportingInstance)
}

func eventKey(e *corev1.Event) string { return similarKey(e) + "\x00" + e.Message }

// recent is a map that forgets what was not used for longest.
type recent[V any] struct {
	byKey map[string]*list.Element
	order *list.List // of *kept[V], the newest first
}

type kept[V any] struct {
	key   string
	value V
}

func newRecent[V any]() *recent[V] {
	return &recent[V]{byKey: map[string]*list.Element{}, order: list.New()}
}

func (r *recent[V]) get(key string) (v V, ok bool) {
	e := r.byKey[key]
	if e == nil {
		return v, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*kept[V]).value, true
}

func (r *recent[V]) put(key string, v V) {
	if e := r.byKey[key]; e != nil {
		e.Value.(*kept[V]).value = v
		r.order.MoveToFront(e)
		return
	}
	r.byKey[key] = r.order.PushFront(&kept[V]{key, v})
	if r.order.Len() > remembered {
		last := r.order.Back()
		delete(r.byKey, r.order.Remove(last).(*kept[V]).key)
	}
}
