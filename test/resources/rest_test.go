package resources

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// api is one way to reach one object of the server.
type api interface {
	create(o object) (object, error)
	get(subresource string) (object, error)
	list() (items []object, version string, err error)
	// watch begins after a version and reports until the context ends.
	watch(ctx context.Context, version string) (<-chan event, error)
	update(subresource string, o object) (object, error)
	patch(subresource, mediaType string, patch []byte) (object, error)
	remove() error
}

type event struct {
	kind   string
	object object
	err    error
}

// refusal is a Kubernetes Status, from either front door.
type refusal struct {
	code    int
	reason  string
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.code, r.reason, r.message) }

// rest is REST in JSON or protobuf.
type rest struct {
	client     *http.Client
	collection string // URL
	name       string
	protobuf   bool
}

func (r *rest) encode(o object) ([]byte, error) {
	if r.protobuf {
		return toProtobuf(o)
	}
	return json.Marshal(o)
}

func (r *rest) decode(b []byte) (object, error) {
	if r.protobuf {
		return fromProtobuf(b)
	}
	return fromJSON(b)
}

func (r *rest) mediaType() string {
	if r.protobuf {
		return "application/vnd.kubernetes.protobuf"
	}
	return "application/json"
}

func (r *rest) open(ctx context.Context, method, target, contentType, accept string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return r.client.Do(req)
}

func (r *rest) do(method, target, contentType string, body []byte) (object, error) {
	resp, err := r.open(context.Background(), method, target, contentType, r.mediaType(), body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if got := resp.Header.Get("Content-Type"); got != r.mediaType() {
		return nil, fmt.Errorf("%s %s: Content-Type %s: %.300s", method, target, got, answer)
	}
	o, err := r.decode(answer)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		reason, _ := o["reason"].(string)
		return nil, &refusal{code: resp.StatusCode, reason: reason, message: fmt.Sprint(o["message"])}
	}
	return o, nil
}

func (r *rest) url(subresource string) string {
	u := r.collection + "/" + r.name
	if subresource != "" {
		u += "/" + subresource
	}
	return u
}

func (r *rest) create(o object) (object, error) {
	body, err := r.encode(o)
	if err != nil {
		return nil, err
	}
	return r.do(http.MethodPost, r.collection+"?fieldValidation=Strict", r.mediaType(), body)
}

func (r *rest) get(subresource string) (object, error) {
	return r.do(http.MethodGet, r.url(subresource), "", nil)
}

func (r *rest) update(subresource string, o object) (object, error) {
	body, err := r.encode(o)
	if err != nil {
		return nil, err
	}
	return r.do(http.MethodPut, r.url(subresource), r.mediaType(), body)
}

func (r *rest) patch(subresource, mediaType string, patch []byte) (object, error) {
	target := r.url(subresource)
	if mediaType == applyPatch {
		target += "?fieldManager=applier&force=true"
	}
	return r.do(http.MethodPatch, target, mediaType, patch)
}

func (r *rest) remove() error {
	_, err := r.do(http.MethodDelete, r.url(""), "", nil)
	return err
}

func (r *rest) selected() string {
	return r.collection + "?fieldSelector=" + url.QueryEscape("metadata.name="+r.name)
}

func (r *rest) list() ([]object, string, error) {
	l, err := r.do(http.MethodGet, r.selected(), "", nil)
	if err != nil {
		return nil, "", err
	}
	var items []object
	list, _ := l["items"].([]any)
	for _, i := range list {
		items = append(items, i.(object))
	}
	version, _ := metadata(l)["resourceVersion"].(string)
	return items, version, nil
}

func (r *rest) watch(ctx context.Context, version string) (<-chan event, error) {
	accept := r.mediaType()
	if r.protobuf {
		accept += ";stream=watch"
	}
	resp, err := r.open(ctx, http.MethodGet, r.selected()+"&watch=1&resourceVersion="+version, "", accept, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("watch: %s", resp.Status)
	}
	events := make(chan event)
	go func() {
		defer resp.Body.Close()
		next := r.events(resp.Body)
		for {
			e := next()
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			if e.err != nil {
				return
			}
		}
	}()
	return events, nil
}

// events reads a watch's frames: lines of JSON, or protobuf behind lengths.
func (r *rest) events(body io.Reader) func() event {
	if !r.protobuf {
		d := json.NewDecoder(body)
		return func() event {
			var e struct {
				Type   string
				Object object
			}
			err := d.Decode(&e)
			return event{kind: e.Type, object: e.Object, err: err}
		}
	}
	b := bufio.NewReader(body)
	return func() event {
		var size [4]byte
		if _, err := io.ReadFull(b, size[:]); err != nil {
			return event{err: err}
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(b, frame); err != nil {
			return event{err: err}
		}
		var e metav1.WatchEvent
		if err := e.Unmarshal(frame); err != nil {
			return event{err: err}
		}
		o, err := fromProtobuf(e.Object.Raw)
		return event{kind: e.Type, object: o, err: err}
	}
}
