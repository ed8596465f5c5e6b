package nodeproxy

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// stream serves exec, attach and portforward: the upgraded connection, SPDY
// or WebSocket, passes through to the kubelet.
func (p *Proxy) stream(w http.ResponseWriter, r *http.Request, t registry.Target) error {
	pod, err := p.pod(r.Context(), t)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	path, options, err := p.streamTarget(pod, t.Subresource, query)
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s %v", pod.Name, errNoHost))
	}
	u, err := p.kubeletURL(r.Context(), pod.Spec.NodeName, t.GroupResource())
	if err != nil {
		return err
	}
	if err := p.admit(r, t, options); err != nil {
		return err
	}
	u = u.JoinPath(path...)
	u.RawQuery = query.Encode()
	p.forward(w, r, u, p.kubelet)
	return nil
}

// streamTarget is the kubelet's path, and what admission sees.
func (p *Proxy) streamTarget(pod *corev1.Pod, subresource string, query url.Values) ([]string, runtime.Object, error) {
	if subresource == "portforward" {
		return []string{"portForward", pod.Namespace, pod.Name}, &corev1.PodPortForwardOptions{}, nil
	}
	name, err := container(pod, query.Get("container"))
	if err != nil {
		return nil, nil, err
	}
	query.Del("container")
	on := func(key string) bool { return truth(query, key) }
	// The kubelet's names of the streams.
	for from, to := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error"} {
		if on(from) {
			query.Set(to, "1")
		}
	}
	stdin, stdout, stderr, tty := on("stdin"), on("stdout"), on("stderr"), on("tty")
	for _, key := range []string{"stdin", "stdout", "stderr"} {
		query.Del(key)
	}
	if tty {
		query.Set("tty", "1")
	}
	if subresource == "attach" {
		return []string{"attach", pod.Namespace, pod.Name, name},
			&corev1.PodAttachOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr, TTY: tty, Container: name}, nil
	}
	return []string{"exec", pod.Namespace, pod.Name, name},
		&corev1.PodExecOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr, TTY: tty, Container: name, Command: query["command"]}, nil
}

// admit asks the admission chain about a connection.
func (p *Proxy) admit(r *http.Request, t registry.Target, options runtime.Object) error {
	ctx := r.Context()
	a := &admission.Attributes{
		Operation: admission.Connect, Resource: t.Resource, Subresource: t.Subresource, Namespace: t.Namespace, Name: t.Name,
		Object: options, User: &request.From(ctx).User,
		Warn:     func(text string) { request.Warn(ctx, text) },
		Annotate: func(key, value string) { request.Annotate(ctx, key, value) },
	}
	if err := p.Admission.Admit(ctx, a); err != nil {
		return err
	}
	return p.Admission.Validate(ctx, a)
}

// forward passes a request, and whatever it is upgraded to, to u. A refused
// upgrade is answered and its connection closed by the reverse proxy, so that
// nothing can follow it through.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, u *url.URL, transport http.RoundTripper) {
	rp := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		Rewrite: func(q *httputil.ProxyRequest) {
			q.Out.URL, q.Out.Host = u, u.Host
			for _, name := range []string{"Authorization", "Cookie", "Origin"} {
				q.Out.Header.Del(name)
			}
			dropIdentity(q.Out.Header)
			if transport == p.kubelet {
				q.Out.Header.Add("Via", via)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			// Nobody behind us sends the caller elsewhere with our help.
			if resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified && transport == p.kubelet {
				return fmt.Errorf("the node answered with a redirect, which is not followed")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.Fail(w, r, apierrors.NewServiceUnavailable("error trying to reach service: "+err.Error()))
		},
	}
	rp.ServeHTTP(w, r)
}

// via marks what goes to nodes with the API server's own certificate. Whoever
// may write the addresses of a node could have it come back to an API server,
// and act there with the rights of that certificate.
const via = "1.1 kube-apiserver"

// Returned reports whether a request has been passed on by an API server.
func Returned(h http.Header) bool {
	return slices.Contains(h["Via"], via)
}

// ErrReturned refuses it.
var ErrReturned = apierrors.NewBadRequest("an API server passed this request on to a node and it came to an API server: the address of the node is not the node's")

// dropIdentity removes what could make the other side take the request for
// somebody's.
func dropIdentity(h http.Header) {
	for name := range h {
		if hasPrefixFold(name, "X-Remote-") || hasPrefixFold(name, "Impersonate-") {
			h.Del(name)
		}
	}
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && http.CanonicalHeaderKey(s[:len(prefix)]) == http.CanonicalHeaderKey(prefix)
}
