package nodeproxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// proxy forwards to a pod, a service or a node.
func (p *Proxy) proxy(w http.ResponseWriter, r *http.Request, t registry.Target, info *request.Info) error {
	scheme, name, port := splitName(t.Name)
	t.Name = name
	u, transport, err := p.destination(r.Context(), t, scheme, port)
	if err != nil {
		return err
	}
	if err := p.admit(r, t, proxyOptions(t.Resource, info)); err != nil {
		return err
	}
	// The path behind …/proxy as it came, slashes and escapes included.
	rest := behind(r.URL.EscapedPath(), t.Resource.Namespaced)
	if rest == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// Relative links in the answer need the slash.
		http.Redirect(w, r, r.URL.EscapedPath()+"/", http.StatusMovedPermanently)
		return nil
	}
	u.RawPath = rest
	if u.Path, err = url.PathUnescape(rest); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	u.RawQuery = r.URL.RawQuery
	p.forward(w, r, u, transport)
	return nil
}

// behind is what follows …/proxy, which is a segment of its own: names and
// namespaces may begin with the word, too.
func behind(path string, namespaced bool) string {
	segments := len([...]string{"api", "v1", "nodes", "NAME", "proxy"})
	if namespaced {
		segments += len([...]string{"namespaces", "NAMESPACE"})
	}
	for i, c := range path {
		if c != '/' {
			continue
		}
		if segments == 0 {
			return path[i:]
		}
		segments--
	}
	return ""
}

// splitName reads [SCHEME:]NAME[:PORT].
func splitName(s string) (scheme, name, port string) {
	parts := strings.Split(s, ":")
	switch len(parts) {
	case 1:
		return "", parts[0], ""
	case 2:
		return "", parts[0], parts[1]
	case 3:
		return parts[0], parts[1], parts[2]
	}
	return "", s, ""
}

func (p *Proxy) destination(ctx context.Context, t registry.Target, scheme, port string) (*url.URL, http.RoundTripper, error) {
	if scheme == "" {
		scheme = "http"
	}
	switch t.Resource {
	case p.Nodes:
		u, err := p.nodeDestination(ctx, t, port)
		return u, p.kubelet, err
	case p.Pods:
		u, err := p.podDestination(ctx, t, scheme, port)
		return u, p.plain, err
	}
	u, err := p.serviceDestination(ctx, t, scheme, port)
	return u, p.plain, err
}

// nodeDestination is the kubelet; another port of the node is reached without
// the kubelet's credentials only by its pods' proxy.
func (p *Proxy) nodeDestination(ctx context.Context, t registry.Target, port string) (*url.URL, error) {
	u, err := p.kubeletURL(ctx, t.Name, t.GroupResource())
	if err != nil {
		return nil, err
	}
	if port != "" && port != u.Port() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the proxy of a node reaches its kubelet on port %s only", u.Port()))
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && (ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
		return nil, apierrors.NewBadRequest("address not allowed")
	}
	return u, nil
}

func (p *Proxy) podDestination(ctx context.Context, t registry.Target, scheme, port string) (*url.URL, error) {
	pod, err := p.pod(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := allowed(pod.Status.PodIP); err != nil {
		return nil, err
	}
	number, err := podPort(pod, port)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(pod.Status.PodIP, number)}, nil
}

// podPort is a number, a named port, or the first declared port; 80 if none.
func podPort(pod *corev1.Pod, port string) (string, error) {
	if _, err := strconv.ParseUint(port, 10, 16); err == nil {
		return port, nil
	}
	for i := range pod.Spec.Containers {
		for _, cp := range pod.Spec.Containers[i].Ports {
			if port == "" || cp.Name == port {
				return strconv.Itoa(int(cp.ContainerPort)), nil
			}
		}
	}
	if port == "" {
		return "80", nil
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("pod %s has no port named %q", pod.Name, port))
}

// serviceDestination is a ready endpoint, chosen at random.
func (p *Proxy) serviceDestination(ctx context.Context, t registry.Target, scheme, port string) (*url.URL, error) {
	obj, err := p.get(ctx, p.Services, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	s := obj.(*corev1.Service)
	want, ok := servicePort(s, port)
	sel, err := sliceSelector(t.Name)
	if err != nil {
		return nil, err
	}
	list, err := p.Store.Collection(p.Slices).List(ctx, storage.ListOptions{Selection: storage.Selection{Namespace: t.Namespace, Labels: sel}})
	if err != nil {
		return nil, registry.Status(err, p.Slices.GroupResource(), "")
	}
	if len(list.Objects) == 0 || !ok {
		return nil, apierrors.NewNotFound(t.GroupResource(), t.Name) // as Kubernetes, which looks for its endpoints
	}
	var hosts []string
	for _, o := range list.Objects {
		obj, err := registry.Decode(p.Slices, o)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, readyHosts(obj.(*discoveryv1.EndpointSlice), want)...)
	}
	if len(hosts) == 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", t.Name))
	}
	host := hosts[rand.IntN(len(hosts))]
	return &url.URL{Scheme: scheme, Host: host}, nil
}

// servicePort is the name of the port that is meant.
func servicePort(s *corev1.Service, port string) (string, bool) {
	if port == "" && len(s.Spec.Ports) > 0 {
		return s.Spec.Ports[0].Name, true
	}
	for _, sp := range s.Spec.Ports {
		if sp.Name == port && port != "" || strconv.Itoa(int(sp.Port)) == port {
			return sp.Name, true
		}
	}
	return "", false
}

func readyHosts(s *discoveryv1.EndpointSlice, port string) []string {
	number := int32(0)
	for _, sp := range s.Ports {
		if (sp.Name == nil && port == "" || sp.Name != nil && *sp.Name == port) && sp.Port != nil {
			number = *sp.Port
		}
	}
	if number == 0 {
		return nil
	}
	var out []string
	for _, e := range s.Endpoints {
		if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 || allowed(e.Addresses[0]) != nil {
			continue
		}
		out = append(out, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(number))))
	}
	return out
}

func sliceSelector(service string) (labels.Selector, error) {
	r, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.Equals, []string{service})
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return labels.NewSelector().Add(*r), nil
}

// proxyOptions is what admission sees.
func proxyOptions(res *scheme.Resource, info *request.Info) runtime.Object {
	path := strings.Join(info.Parts, "/")
	switch res.Plural {
	case "nodes":
		return &corev1.NodeProxyOptions{Path: path}
	case "services":
		return &corev1.ServiceProxyOptions{Path: path}
	}
	return &corev1.PodProxyOptions{Path: path}
}
