package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/pki"
)

// healthy asks a health endpoint once.
func healthy(ctx context.Context, c *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only to tell
	return fmt.Errorf("%s answered %s: %s", url, resp.Status, strings.Join(strings.Fields(string(body)), " "))
}

// waitKubelet waits for the kubelet's health endpoint.
func (n *Node) waitKubelet(ctx context.Context, limit time.Duration, shared map[string]any) error {
	port := "10248"
	if p, ok := shared["healthzPort"]; ok {
		port = fmt.Sprint(p)
	}
	url := "http://" + net.JoinHostPort("127.0.0.1", port) + "/healthz"
	n.say("kubelet-check", "Waiting for a healthy kubelet at %s. This can take up to %s", url, limit)
	begun := time.Now()
	err := retry(ctx, limit, "the kubelet", func(ctx context.Context) error { return healthy(ctx, http.DefaultClient, url) })
	if err != nil {
		return fmt.Errorf("%w\nIts log says why: journalctl -xeu kubelet, or the supervisor's kubelet.log", err)
	}
	n.say("kubelet-check", "The kubelet is healthy after %s", time.Since(begun).Round(time.Millisecond))
	return nil
}

// waitControlPlane waits for the static pods' own health endpoints.
func (n *Node) waitControlPlane(ctx context.Context, limit time.Duration, c *kubeadm.ClusterConfiguration, e kubeadm.APIEndpoint) error {
	ca, err := pki.Read(n.path(c.CertificatesDir), "ca")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	api := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	// The other two make their own serving certificates; nothing secret is sent.
	local := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	checks := []struct {
		name, url string
		client    *http.Client
	}{
		{"kube-apiserver", "https://" + net.JoinHostPort(e.AdvertiseAddress, fmt.Sprint(e.BindPort)) + "/readyz", api},
		{"kube-controller-manager", "https://127.0.0.1:10257/healthz", local},
		{"kube-scheduler", "https://127.0.0.1:10259/livez", local},
	}
	begun := time.Now()
	for _, k := range checks {
		n.say("control-plane-check", "Checking %s at %s", k.name, k.url)
		if err := retry(ctx, limit, k.name, func(ctx context.Context) error { return healthy(ctx, k.client, k.url) }); err != nil {
			return fmt.Errorf("%w\nThe container's log says why: crictl logs, or %s", err, n.Root.Path("/var/log/pods"))
		}
		n.say("control-plane-check", "%s is healthy after %s", k.name, time.Since(begun).Round(time.Millisecond))
	}
	return nil
}
