// Package nodeproxy serves the subresources behind which there is somebody
// else: logs, exec, attach and port-forward at a kubelet, and the proxy of
// pods, services and nodes.
//
// Only the node or pod that the object names is reached, by an address that
// is checked and then dialled, never by a name that could change in between.
// Redirects are not followed; the caller's credentials do not go along.
package nodeproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// Options say how nodes are reached.
type Options struct {
	Store storage.Store
	// Pods, Nodes, Services and Slices are the resources in the table.
	Pods, Nodes, Services, Slices *scheme.Resource
	Admission                     *admission.Chain
	// CAFile verifies kubelets; without it their certificates are not
	// verified, as Kubernetes does by default.
	CAFile, CertFile, KeyFile string
	// AddressTypes in order of preference.
	AddressTypes []string
	// Timeout of connecting.
	Timeout time.Duration
	// Dial connects to nodes, pods and services; nil is directly.
	Dial egress.Dial
	// Fail writes an error as a Status.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
	Log  *zap.Logger
}

// Proxy serves the subresources.
type Proxy struct {
	Options
	kubelet *http.Transport
	// unverified is for logs of nodes whose certificate is wrong, when the
	// caller says so.
	unverified *http.Transport
	plain      *http.Transport
}

// New makes a proxy. It fails when the files can't be read.
func New(o Options) (*Proxy, error) {
	p := &Proxy{Options: o}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--kubelet-certificate-authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--kubelet-certificate-authority: %s has no certificate", o.CAFile)
		}
	} else {
		config.InsecureSkipVerify = true // self-signed kubelets: without a CA there is nothing to verify against
	}
	if o.CertFile != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			return &pair, err
		}
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second}).DialContext
	}
	p.kubelet = &http.Transport{
		TLSClientConfig: config, DialContext: dial, MaxIdleConnsPerHost: 25,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}
	p.unverified = p.kubelet.Clone()
	p.unverified.TLSClientConfig.InsecureSkipVerify = true // asked for
	// A pod's or service's own certificate names nothing we know.
	p.plain = &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, // see above
		DialContext:     dial, IdleConnTimeout: 30 * time.Second,
	}
	return p, nil
}

// ServeHTTP answers a connecting subresource.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, t registry.Target, info *request.Info) {
	var err error
	switch {
	case t.Subresource == "log":
		err = p.log(w, r, t)
	case t.Subresource == "proxy":
		err = p.proxy(w, r, t, info)
	default:
		err = p.stream(w, r, t)
	}
	if err != nil {
		p.Fail(w, r, err)
	}
}

func (p *Proxy) pod(ctx context.Context, t registry.Target) (*corev1.Pod, error) {
	obj, err := p.get(ctx, p.Pods, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}

func (p *Proxy) get(ctx context.Context, r *scheme.Resource, namespace, name string) (scheme.Object, error) {
	o, err := p.Store.Collection(r).Get(ctx, namespace, name, storage.Fresh, 0)
	if err != nil {
		return nil, registry.Status(err, r.GroupResource(), name)
	}
	return registry.Decode(r, o)
}

// kubeletURL is the base URL of a node's kubelet. what is the resource that
// the error names when there is no such node.
func (p *Proxy) kubeletURL(ctx context.Context, node string, what schema.GroupResource) (*url.URL, error) {
	obj, err := p.get(ctx, p.Nodes, "", node)
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(what, node)
	}
	if err != nil {
		return nil, err
	}
	n := obj.(*corev1.Node)
	host, err := p.address(n)
	if err != nil {
		return nil, err
	}
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	if port == 0 {
		port = 10250
	}
	return kubeletBase(host, port), nil
}

// kubeletBase has a path: what is joined to none would begin without a slash,
// and be refused.
func kubeletBase(host string, port int32) *url.URL {
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port))), Path: "/"}
}

func (p *Proxy) address(n *corev1.Node) (string, error) {
	for _, kind := range p.AddressTypes {
		for _, a := range n.Status.Addresses {
			if string(a.Type) == kind && a.Address != "" {
				return a.Address, nil
			}
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no preferred addresses found; known addresses: %v", n.Status.Addresses))
}

// allowed refuses addresses at which nothing of the cluster can be: this
// machine's own loopback and link-local ones, such as clouds' metadata.
func allowed(host string) error {
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() {
		return apierrors.NewBadRequest("address not allowed")
	}
	return nil
}

// container picks the container that is meant.
func container(pod *corev1.Pod, name string) (string, error) {
	if name == "" {
		switch {
		case len(pod.Spec.Containers) == 1:
			return pod.Spec.Containers[0].Name, nil
		case len(pod.Spec.Containers) == 0:
			return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
		}
		return "", apierrors.NewBadRequest(ambiguous(pod))
	}
	for _, have := range names(pod) {
		if have == name {
			return name, nil
		}
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}

func names(pod *corev1.Pod) []string {
	var out []string
	for i := range pod.Spec.InitContainers {
		out = append(out, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.Containers {
		out = append(out, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		out = append(out, pod.Spec.EphemeralContainers[i].Name)
	}
	return out
}

func ambiguous(pod *corev1.Pod) string {
	var containers, init []string
	for i := range pod.Spec.Containers {
		containers = append(containers, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		init = append(init, pod.Spec.InitContainers[i].Name)
	}
	text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(containers, " "))
	if len(init) > 0 {
		text += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(init, " "))
	}
	return text
}

var errNoHost = errors.New("does not have a host assigned")
