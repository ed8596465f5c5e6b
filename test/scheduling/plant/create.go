package plant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// connections of a Creator, and requests at once on each.
const (
	connections = 2
	atOnce      = 32
)

// Creator creates objects over REST.
type Creator struct {
	url     string
	clients []*http.Client
}

// NewCreator makes a creator.
func (p *Plant) NewCreator() (*Creator, error) {
	c := &Creator{url: p.URL}
	for range connections {
		h, err := p.HTTP()
		if err != nil {
			return nil, err
		}
		c.clients = append(c.clients, h)
	}
	return c, nil
}

// Namespaces creates namespaces.
func (c *Creator) Namespaces(ctx context.Context, names ...string) error {
	return c.All(ctx, "/api/v1/namespaces", len(names), func(i int) scheme.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names[i]}}
	})
}

// All creates n objects below a path, many at once.
func (c *Creator) All(ctx context.Context, path string, n int, object func(i int) scheme.Object) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, connections*atOnce)
	for w := range connections * atOnce {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				if err := c.one(ctx, c.clients[w%connections], path, object(i)); err != nil {
					errs <- err
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return errors.Join(<-errs, ctx.Err())
}

func (c *Creator) one(ctx context.Context, h *http.Client, path string, obj scheme.Object) error {
	raw, err := obj.Marshal()
	if err != nil {
		return err
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind(obj)}, Raw: raw}
	body, err := u.Marshal()
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(append([]byte("k8s\x00"), body...)))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", protobuf)
	q.Header.Set("Accept", protobuf)
	resp, err := h.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("create %s %s/%s: %s: %.300q", kind(obj), obj.GetNamespace(), obj.GetName(), resp.Status, text)
	}
	return nil
}

func kind(obj scheme.Object) string {
	switch obj.(type) {
	case *corev1.Pod:
		return "Pod"
	case *corev1.Node:
		return "Node"
	case *corev1.Namespace:
		return "Namespace"
	case *corev1.Service:
		return "Service"
	}
	return ""
}
