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
	"slices"
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
	IsLearner  bool     `json:"isLearner"`
}

func (m etcdMember) at(peer string) bool { return len(m.PeerURLs) > 0 && m.PeerURLs[0] == peer }

func peerURL(address string) string { return "https://" + net.JoinHostPort(address, "2380") }

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

// members lists those who vote and those who learn.
func (e *etcdAdmin) members(ctx context.Context, endpoints []string) ([]etcdMember, error) {
	var list struct{ Members []etcdMember }
	err := e.call(ctx, endpoints, "/v3/cluster/member/list", map[string]any{}, &list)
	return list.Members, err
}

// add announces a member that learns, unless it is one already, and gives the
// others as NAME=PEER.
func (e *etcdAdmin) add(ctx context.Context, endpoints []string, name, address string) ([]string, error) {
	peer := peerURL(address)
	members, err := e.members(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(members, func(m etcdMember) bool { return m.at(peer) }) {
		var list struct{ Members []etcdMember }
		if err := e.call(ctx, endpoints, "/v3/cluster/member/add", map[string]any{"peerURLs": []string{peer}, "isLearner": true}, &list); err != nil {
			return nil, err
		}
		members = list.Members
	}
	var others []string
	for _, m := range members {
		for _, u := range m.PeerURLs {
			if u != peer {
				others = append(others, m.Name+"="+u)
			}
		}
	}
	return others, nil
}

// promote lets a member vote that has learnt everything.
func (e *etcdAdmin) promote(ctx context.Context, endpoints []string, address string) error {
	members, err := e.members(ctx, endpoints)
	if err != nil {
		return err
	}
	for _, m := range members {
		switch {
		case !m.at(peerURL(address)):
		case !m.IsLearner:
			return nil
		default:
			var list struct{ Members []etcdMember }
			return e.call(ctx, endpoints, "/v3/cluster/member/promote", map[string]any{"ID": m.ID}, &list)
		}
	}
	return fmt.Errorf("no member of etcd has the address %s", address)
}

// remove takes the member with the address out of the cluster.
func (e *etcdAdmin) remove(ctx context.Context, endpoints []string, address string) error {
	members, err := e.members(ctx, endpoints)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.at(peerURL(address)) && len(members) > 1 {
			var list struct{ Members []etcdMember }
			return e.call(ctx, endpoints, "/v3/cluster/member/remove", map[string]any{"ID": m.ID}, &list)
		}
	}
	return nil
}
