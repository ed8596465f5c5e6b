package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"xebec.dev/deploy/internal/kubeadm"
)

// minEtcd is the first version with all calls that the API server makes.
const minEtcd = "3.5.0"

// externalEtcd asks every member of somebody else's etcd for its version, where
// it serves HTTP.
func externalEtcd(ctx context.Context, e *kubeadm.ExternalEtcd) error {
	client, err := externalClient(e)
	if err != nil {
		return err
	}
	endpoints := e.HTTPEndpoints
	if len(endpoints) == 0 {
		endpoints = e.Endpoints
	}
	var errs []error
	for _, at := range endpoints {
		if err := etcdVersion(ctx, client, strings.TrimSuffix(at, "/")); err != nil {
			errs = append(errs, fmt.Errorf("couldn't parse external etcd version %q: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

func externalClient(e *kubeadm.ExternalEtcd) (*http.Client, error) {
	config := &tls.Config{}
	if e.CAFile != "" {
		raw, err := os.ReadFile(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("etcd.external.caFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("etcd.external.caFile: there is no certificate in %s", e.CAFile)
		}
	}
	if e.CertFile != "" || e.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("etcd.external.certFile and keyFile: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, nil
}

func etcdVersion(ctx context.Context, client *http.Client, endpoint string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/version", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Server string `json:"etcdserver"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&answer); err != nil {
		return err
	}
	v, err := version.ParseSemantic(answer.Server)
	if err != nil {
		return err
	}
	if v.LessThan(version.MustParseSemantic(minEtcd)) {
		return fmt.Errorf("only external etcd version >= %s is supported. Current version: %s", minEtcd, answer.Server)
	}
	return nil
}
