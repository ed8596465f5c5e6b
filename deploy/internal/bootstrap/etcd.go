package bootstrap

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"xebec.dev/deploy/internal/pki"
)

// etcdAdmin speaks to etcd's JSON gateway about members: three calls that are
// not worth a client library.
type etcdAdmin struct{ http *http.Client }

type etcdMember struct {
	ID         string   `json:"ID"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func newEtcd(certs string) (*etcdAdmin, error) {
	ca, err := pki.Read(certs, "etcd/ca")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	pair, err := tls.LoadX509KeyPair(filepath.Join(certs, "etcd/healthcheck-client.crt"), filepath.Join(certs, "etcd/healthcheck-client.key"))
	if err != nil {
		return nil, err
	}
	return &etcdAdmin{&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}}, nil
}

func (e *etcdAdmin) call(ctx context.Context, endpoints []string, path string, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for _, ep := range endpoints {
		if err = e.one(ctx, ep+path, raw, answer); err == nil {
			return nil
		}
	}
	return fmt.Errorf("etcd at %v: %w", endpoints, err)
}

func (e *etcdAdmin) one(ctx context.Context, url string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(raw))
	}
	return json.Unmarshal(raw, answer)
}

// add announces a member, unless it is one already, and gives the others as
// NAME=PEER.
func (e *etcdAdmin) add(ctx context.Context, endpoints []string, name, address string) ([]string, error) {
	peer := "https://" + net.JoinHostPort(address, "2380")
	var list struct{ Members []etcdMember }
	if err := e.call(ctx, endpoints, "/v3/cluster/member/list", map[string]any{}, &list); err != nil {
		return nil, err
	}
	there := false
	for _, m := range list.Members {
		there = there || len(m.PeerURLs) > 0 && m.PeerURLs[0] == peer
	}
	if !there {
		if err := e.call(ctx, endpoints, "/v3/cluster/member/add", map[string]any{"peerURLs": []string{peer}}, &list); err != nil {
			return nil, err
		}
	}
	var others []string
	for _, m := range list.Members {
		for _, u := range m.PeerURLs {
			if u != peer {
				others = append(others, m.Name+"="+u)
			}
		}
	}
	return others, nil
}

// remove takes the member with the address out of the cluster.
func (e *etcdAdmin) remove(ctx context.Context, endpoints []string, address string) error {
	peer := "https://" + net.JoinHostPort(address, "2380")
	var list struct{ Members []etcdMember }
	if err := e.call(ctx, endpoints, "/v3/cluster/member/list", map[string]any{}, &list); err != nil {
		return err
	}
	for _, m := range list.Members {
		if len(m.PeerURLs) > 0 && m.PeerURLs[0] == peer && len(list.Members) > 1 {
			return e.call(ctx, endpoints, "/v3/cluster/member/remove", map[string]any{"ID": m.ID}, &list)
		}
	}
	return nil
}
