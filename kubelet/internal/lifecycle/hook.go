// Package lifecycle runs the hooks of containers: postStart and preStop.
package lifecycle

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/probe"
)

// agent of requests.
const agent = "kube-lifecycle/1.37"

// Runner runs hooks.
type Runner struct{ Exec probe.Execer }

// maxBody read of an answer, in bytes.
const maxBody = 10 << 10

// Run runs a hook to its end, or until ctx ends.
func (r Runner) Run(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id, ip string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		return r.exec(ctx, id, h.Exec.Command)
	case h.HTTPGet != nil:
		return get(ctx, c, ip, h.HTTPGet)
	case h.Sleep != nil:
		return sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	case h.TCPSocket != nil:
		return nil // the API keeps the field, and nothing ever acted on it
	}
	return fmt.Errorf("invalid handler: container %s of pod %s/%s has a hook that says nothing to do", c.Name, pod.Namespace, pod.Name)
}

func (r Runner) exec(ctx context.Context, id string, command []string) error {
	timeout := time.Duration(0)
	if d, ok := ctx.Deadline(); ok {
		timeout = time.Until(d)
	}
	output, code, err := r.Exec.Exec(ctx, id, command, timeout)
	if err == nil && code != 0 {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), code, output)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func get(ctx context.Context, c *corev1.Container, ip string, a *corev1.HTTPGetAction) error {
	u, err := probe.URL(a, c, ip)
	if err != nil {
		return err
	}
	r, err := probe.Request(ctx, a, u, agent)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: probe.Transport}
	res, err := client.Do(r)
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) || err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		// Hooks used not to look at the scheme: those who wrote HTTPS and serve
		// HTTP are still heard, without what is secret.
		r.URL.Scheme = "http"
		r.Header.Del("Authorization")
		res, err = client.Do(r)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
	return err
}
