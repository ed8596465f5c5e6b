// Package chaos breaks things while clients are at work, records what the
// clients saw, and checks the record (package history). CHAOS_ROUNDS makes
// the tests longer: the number of rounds of each.
package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/history"
)

// namespace of the objects, which are ConfigMaps.
const namespace = "chaos"

// door is one of the two ways into a server.
type door interface {
	// do performs an operation and fills in its outcome.
	do(ctx context.Context, o *history.Op)
	// watch begins after a revision.
	watch(ctx context.Context, labels string, after int64) (stream, error)
	// whole says that revisions are delivered in one piece.
	whole() bool
}

// stream delivers pieces: events of one batch, or a bookmark. The error is a
// *apierrors.StatusError when the server said why it ends.
type stream interface {
	next() ([]history.Event, error)
	close()
}

// labelled objects have l=1: those whose value ends in an even digit. So
// objects enter and leave the selection.
const labelled = "l=1"

func configMap(key, value string, base int64) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: key}, Data: map[string]string{"v": value}}
	if even(value) {
		m.Labels = map[string]string{"l": "1"}
	}
	if base != 0 {
		m.ResourceVersion = strconv.FormatInt(base, 10)
	}
	return m
}

func even(value string) bool { return value != "" && (value[len(value)-1]-'0')%2 == 0 }

func revisionOf(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// outcome of an answer with a Status.
func outcome(o *history.Op, s *metav1.Status) {
	o.Code, o.Err = int(s.Code), s.Message
	switch {
	case s.Code == http.StatusNotFound:
		o.Outcome = history.NotFound
	case s.Reason == metav1.StatusReasonAlreadyExists:
		o.Outcome = history.Exists
	case s.Code == http.StatusConflict:
		o.Outcome = history.Conflict
	case s.Code == http.StatusGone:
		o.Outcome = history.Expired
	case s.Code == http.StatusTooManyRequests:
		o.Outcome = history.Refused
	default:
		o.Outcome = history.Unknown
	}
}

// rest is the REST door.
type rest struct {
	client *http.Client
	base   string
	// seconds that a watch lasts; 0 leaves that to the server.
	seconds int
}

func restDoor(t testing.TB, s *apiservertest.Server) *rest {
	return &rest{client: s.Client(t), base: s.URL + "/api/v1/namespaces/" + namespace + "/configmaps"}
}

func (r *rest) whole() bool { return false }

func (r *rest) do(ctx context.Context, o *history.Op) {
	method, path, body := http.MethodGet, "/"+o.Key, []byte(nil)
	switch o.Verb {
	case history.Create:
		method, path = http.MethodPost, ""
		body, _ = json.Marshal(configMap(o.Key, o.Value, 0)) // such an object can be encoded
	case history.Update:
		method = http.MethodPut
		body, _ = json.Marshal(configMap(o.Key, o.Value, o.Base))
	case history.Delete:
		method = http.MethodDelete
	case history.List:
		path = ""
	}
	resp, err := r.request(ctx, method, path, body)
	if err != nil {
		o.Outcome, o.Err = history.Unknown, err.Error()
		if refused(err) {
			o.Outcome = history.Refused
		}
		return
	}
	defer resp.Body.Close()
	o.RetryAfter = resp.Header.Get("Retry-After")
	if resp.StatusCode > 299 {
		s := metav1.Status{Code: int32(resp.StatusCode)}
		if json.NewDecoder(resp.Body).Decode(&s) != nil && resp.StatusCode != http.StatusTooManyRequests {
			o.Outcome = history.Unknown // cut off amid the answer
			return
		}
		s.Code = int32(resp.StatusCode)
		outcome(o, &s)
		return
	}
	read(o, json.NewDecoder(resp.Body))
}

func read(o *history.Op, d *json.Decoder) {
	var err error
	switch o.Verb {
	case history.Delete:
	case history.List:
		var l corev1.ConfigMapList
		if err = d.Decode(&l); err == nil {
			o.Revision = revisionOf(l.ResourceVersion)
			for i := range l.Items {
				o.Items = append(o.Items, versionOf(&l.Items[i]))
			}
		}
	default:
		var m corev1.ConfigMap
		if err = d.Decode(&m); err == nil {
			v := versionOf(&m)
			o.Value, o.Revision = v.Value, v.Revision
		}
	}
	if err != nil { // cut off amid the answer
		o.Outcome, o.Items = history.Unknown, nil
	}
}

func versionOf(m *corev1.ConfigMap) history.Version {
	return history.Version{Key: m.Name, Value: m.Data["v"], Revision: revisionOf(m.ResourceVersion)}
}

// refused: no connection was made, so nothing was sent.
func refused(err error) bool { return strings.Contains(err.Error(), "connection refused") }

func (r *rest) request(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	return r.client.Do(q)
}

func (r *rest) watch(ctx context.Context, labels string, after int64) (stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	q := url.Values{"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {strconv.FormatInt(after, 10)}}
	if labels != "" {
		q.Set("labelSelector", labels)
	}
	if r.seconds > 0 {
		q.Set("timeoutSeconds", strconv.Itoa(r.seconds))
	}
	resp, err := r.request(ctx, http.MethodGet, "?"+q.Encode(), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &restStream{body: resp.Body, lines: bufio.NewReader(resp.Body), cancel: cancel}
	if resp.StatusCode != http.StatusOK {
		defer s.close()
		return nil, statusOf(resp)
	}
	return s, nil
}

func statusOf(resp *http.Response) error {
	s := metav1.Status{}
	_ = json.NewDecoder(resp.Body).Decode(&s) // the code says enough
	s.Code = int32(resp.StatusCode)
	return &apierrors.StatusError{ErrStatus: s}
}

type restStream struct {
	body   io.ReadCloser
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (s *restStream) close() {
	s.cancel()
	_ = s.body.Close() // it is cancelled
}

var kinds = map[string]history.Kind{"ADDED": history.Added, "MODIFIED": history.Modified, "DELETED": history.Deleted, "BOOKMARK": history.Bookmark}

func (s *restStream) next() ([]history.Event, error) {
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var e struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, fmt.Errorf("watch line %q: %w", line, err)
	}
	if e.Type == "ERROR" {
		st := metav1.Status{}
		if err := json.Unmarshal(e.Object, &st); err != nil {
			return nil, err
		}
		return nil, &apierrors.StatusError{ErrStatus: st}
	}
	var m corev1.ConfigMap
	if err := json.Unmarshal(e.Object, &m); err != nil {
		return nil, err
	}
	return []history.Event{eventOf(kinds[e.Type], versionOf(&m))}, nil
}

func eventOf(k history.Kind, v history.Version) history.Event {
	return history.Event{Kind: k, Key: v.Key, Value: v.Value, Revision: v.Revision}
}

// rpc is the gRPC door.
type rpc struct {
	c *client.Client
	// bookmarks is how often to send them, in milliseconds.
	bookmarks int32
}

func rpcDoor(t testing.TB, s *apiservertest.Server) *rpc {
	t.Helper()
	c, err := client.Dial(client.Config{Kubeconfig: s.Kubeconfig}, builtin.Scheme(), client.Options{Extra: []grpc.DialOption{grpc.WithStatsHandler(wire{})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test is over
	return &rpc{c: c}
}

// wire tells whether a call was put on an established connection: only then
// can its outcome be in doubt.
type wire struct{}

type sentKey struct{}

func (wire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (wire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (wire) HandleConn(context.Context, stats.ConnStats)                       {}
func (wire) HandleRPC(ctx context.Context, e stats.RPCStats) {
	if _, ok := e.(*stats.OutHeader); ok {
		if sent, ok := ctx.Value(sentKey{}).(*atomic.Bool); ok {
			sent.Store(true)
		}
	}
}

func (r *rpc) whole() bool { return true }

func (r *rpc) do(ctx context.Context, o *history.Op) {
	var sent atomic.Bool
	ctx = context.WithValue(ctx, sentKey{}, &sent)
	var m *corev1.ConfigMap
	var err error
	switch o.Verb {
	case history.Create:
		m, err = client.Create(ctx, r.c, configMap(o.Key, o.Value, 0))
	case history.Update:
		m, err = client.Update(ctx, r.c, configMap(o.Key, o.Value, o.Base))
	case history.Delete:
		err = client.Delete[*corev1.ConfigMap](ctx, r.c, namespace, o.Key)
	case history.Get:
		m, err = client.Get[*corev1.ConfigMap](ctx, r.c, namespace, o.Key)
	case history.List:
		var l []*corev1.ConfigMap
		l, o.Revision, err = client.List[*corev1.ConfigMap](ctx, r.c, client.Selection{Namespace: namespace})
		for _, m := range l {
			o.Items = append(o.Items, versionOf(m))
		}
	}
	if err == nil {
		if m != nil {
			v := versionOf(m)
			o.Value, o.Revision = v.Value, v.Revision
		}
		return
	}
	o.Items, o.Outcome, o.Err = nil, history.Unknown, err.Error()
	if !sent.Load() {
		o.Outcome = history.Refused
		return
	}
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		st := s.Status()
		outcome(o, &st)
		o.Code = 0 // Retry-After is REST's
	}
}

func (r *rpc) watch(ctx context.Context, labels string, after int64) (stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	api, err := r.c.Objects().Watch(ctx)
	if err == nil {
		err = api.Send(&pb.WatchRequest{Id: 1, Action: &pb.WatchRequest_Subscribe{Subscribe: &pb.Subscribe{
			Resource:      &pb.Resource{Version: "v1", Resource: "configmaps"},
			Selection:     &pb.Selection{Namespace: namespace, LabelSelector: labels},
			AfterRevision: after, BookmarkMilliseconds: r.bookmarks,
		}}})
	}
	if err != nil {
		cancel()
		return nil, client.FromError(err)
	}
	return &rpcStream{api: api, cancel: cancel}, nil
}

type rpcStream struct {
	api    pb.Objects_WatchClient
	cancel context.CancelFunc
}

func (s *rpcStream) close() { s.cancel() }

var rpcKinds = map[pb.Event_Type]history.Kind{pb.Event_ADDED: history.Added, pb.Event_MODIFIED: history.Modified, pb.Event_DELETED: history.Deleted}

// next gives a batch and a bookmark at its end, which is what a batch's
// revision means.
func (s *rpcStream) next() ([]history.Event, error) {
	res, err := s.api.Recv()
	if err != nil {
		return nil, client.FromError(err)
	}
	if res.Ended != nil {
		return nil, client.FromStatus(res.Ended)
	}
	var events []history.Event
	for _, e := range res.Events {
		var m corev1.ConfigMap
		if err := m.Unmarshal(e.Object.Raw); err != nil {
			return nil, err
		}
		m.ResourceVersion = strconv.FormatInt(e.Object.Revision, 10)
		events = append(events, eventOf(rpcKinds[e.Type], versionOf(&m)))
	}
	return append(events, history.Event{Kind: history.Bookmark, Revision: res.Revision}), nil
}
