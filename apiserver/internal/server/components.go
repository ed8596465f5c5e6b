package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"xebec.dev/apiserver/internal/registry"
)

// components are the parts of the control plane that componentstatuses tells
// of: etcd, and those that serve their health beside an API server.
func (s *Server) components() []registry.Component {
	return []registry.Component{
		{Name: "scheduler", Check: healthz("https://127.0.0.1:10259/healthz")},
		{Name: "controller-manager", Check: healthz("https://127.0.0.1:10257/healthz")},
		{Name: "etcd-0", Check: s.store.Ready},
	}
}

// healthTimeout bounds the question whether a neighbour is well.
const healthTimeout = 5 * time.Second

// healthz asks a neighbour whether it is well.
func healthz(url string) func(context.Context) error {
	// Its certificate is its own, signed by nobody; nothing is told to it.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return registry.Unwell(err.Error())
		}
		defer resp.Body.Close()
		if resp.StatusCode < 200 || resp.StatusCode >= 400 {
			return registry.Unwell(fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode))
		}
		return nil
	}
}
