package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/kubeconfig"
)

// Backend takes events. It keeps them, and must not change them.
type Backend interface {
	// Process is false when events were lost and must not be.
	Process(events ...*Event) bool
	// Run does what is to be done in the background until ctx ends, and then
	// writes what is left.
	Run(ctx context.Context) error
}

// sink is where events end up.
type sink interface {
	write(ctx context.Context, events []*Event) error
}

// Union is several backends.
type Union []Backend

// Process implements Backend.
func (x Union) Process(events ...*Event) bool {
	ok := true
	for _, b := range x {
		ok = b.Process(events...) && ok
	}
	return ok
}

// Run implements Backend.
func (x Union) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(x))
	for i, b := range x {
		wg.Go(func() { errs[i] = b.Run(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// blocking writes before the request goes on.
type blocking struct {
	to sink
	// strict fails requests that cannot be recorded when they come in.
	strict  bool
	onError func(error)
	lost    atomic.Int64
}

func (b *blocking) Process(events ...*Event) bool {
	if err := b.to.write(context.Background(), events); err != nil {
		b.lost.Add(int64(len(events)))
		b.onError(fmt.Errorf("audit: %w", err))
		return !b.strict || events[0].Stage != RequestReceived
	}
	return true
}

func (b *blocking) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// lines writes events to a log, one a line.
type lines struct {
	format string
	mu     sync.Mutex
	// guarded by mu.
	file interface{ Write([]byte) (int, error) }
}

func (l *lines) write(_ context.Context, events []*Event) error {
	for _, e := range events {
		line, err := l.line(e)
		if err != nil {
			return err
		}
		l.mu.Lock()
		_, err = l.file.Write(line)
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) line(e *Event) ([]byte, error) {
	if l.format == "legacy" {
		return []byte(legacy(e)), nil
	}
	raw, err := json.Marshal(e)
	return append(raw, '\n'), err
}

func legacy(e *Event) string {
	ip, namespace, response, as, groups := "<unknown>", "<none>", "<deferred>", "<self>", "<lookup>"
	if len(e.SourceIPs) > 0 {
		ip = e.SourceIPs[0]
	}
	if e.ObjectRef != nil && e.ObjectRef.Namespace != "" {
		namespace = e.ObjectRef.Namespace
	}
	if e.ResponseStatus != nil {
		response = fmt.Sprint(e.ResponseStatus.Code)
	}
	if e.ImpersonatedUser != nil {
		as, groups = e.ImpersonatedUser.Username, quoteAll(e.ImpersonatedUser.Groups)
	}
	return fmt.Sprintf("%s AUDIT: id=%q stage=%q ip=%q method=%q user=%q groups=%q as=%q asgroups=%q user-agent=%q namespace=%q uri=%q response=\"%s\"\n",
		e.RequestReceived.Format("2006-01-02T15:04:05.000000000Z07:00"), e.AuditID, e.Stage, ip, e.Verb, orNone(e.User.Username), quoteAll(e.User.Groups),
		as, groups, e.UserAgent, namespace, e.RequestURI, response)
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

func quoteAll(groups []string) string {
	if len(groups) == 0 {
		return "<none>"
	}
	quoted := make([]string, len(groups))
	for i, g := range groups {
		quoted[i] = fmt.Sprintf("%q", g)
	}
	return strings.Join(quoted, ",")
}

// hook posts lists of events to a webhook.
type hook struct {
	remote *kubeconfig.Remote
	retry  kubeconfig.Retry
}

func (h *hook) write(ctx context.Context, events []*Event) error {
	list := &EventList{TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: "audit.k8s.io/v1"}, Items: events}
	return h.remote.Post(ctx, h.retry, list, nil)
}

// truncating keeps events and lists within bounds.
type truncating struct {
	to                 sink
	maxEvent, maxBatch int
}

const (
	truncatedKey = "audit.k8s.io/truncated"
	errTooLarge  = "an audit event is larger than allowed even without its objects, and is dropped"
)

func (t *truncating) write(ctx context.Context, events []*Event) error {
	var errs []error
	var batch []*Event
	size := 0
	flush := func() {
		if len(batch) > 0 {
			errs = append(errs, t.to.write(ctx, batch))
		}
		batch, size = nil, 0
	}
	for _, e := range events {
		n, e := t.fit(e)
		if e == nil {
			errs = append(errs, errors.New(errTooLarge))
			continue
		}
		if size+n > t.maxBatch {
			flush()
		}
		batch, size = append(batch, e), size+n
	}
	flush()
	return errors.Join(errs...)
}

// fit drops the objects of an event that is too large; nil when that is not
// enough.
func (t *truncating) fit(e *Event) (int, *Event) {
	n := sizeOf(e)
	if n <= t.maxEvent {
		return n, e
	}
	c := e.clone()
	c.RequestObject, c.ResponseObject = nil, nil
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations[truncatedKey] = "true"
	if n = sizeOf(c); n <= t.maxEvent {
		return n, c
	}
	return 0, nil
}

func sizeOf(e *Event) int {
	raw, err := json.Marshal(e)
	if err != nil {
		return 0
	}
	return len(raw)
}
