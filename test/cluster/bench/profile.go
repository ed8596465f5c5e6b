package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"

	"xebec.dev/test/cluster"
)

// addresses are where daemons serve their profiles, on the node's loopback.
var addresses = map[string]string{
	"kube-apiserver": "https://127.0.0.1:6443", "kube-controller-manager": "https://127.0.0.1:10257", "kube-scheduler": "https://127.0.0.1:10259",
	"kubelet": "https://127.0.0.1:10250", "kube-proxy": "http://127.0.0.1:10249",
}

// inside is a client that calls from the node's network as the administrator.
func inside(c *cluster.Cluster) (*http.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return nil, err
	}
	n := c.Members()[0]
	return &http.Client{Transport: &http.Transport{
		// Each daemon has an authority of its own, and they are all this machine's.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialIn(ctx, n.NetNS, network, address)
		},
	}}, nil
}

// dialIn dials from a network namespace. A socket stays in the namespace of
// the thread that made it; the thread ends with its goroutine.
func dialIn(ctx context.Context, namespace, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var file *os.File
		if file, err = os.Open("/run/netns/" + namespace); err != nil {
			return
		}
		defer file.Close()
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
	}()
	<-done
	return conn, err
}

// profiles takes one of each daemon, all over the same time. Those that do not
// serve any are told.
func profiles(ctx context.Context, client *http.Client, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *idle+time.Minute)
	defer cancel()
	results := make(chan error, len(addresses))
	for name, base := range addresses {
		go func() {
			err := save(ctx, client, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", base, int(idle.Seconds())), filepath.Join(dir, name+".pprof"))
			if err != nil {
				err = fmt.Errorf("profile of %s: %w", name, err)
			}
			results <- err
		}()
	}
	for range addresses {
		if err := <-results; err != nil {
			fmt.Fprintln(os.Stderr, "no", err)
		}
	}
	return nil
}

func save(ctx context.Context, client *http.Client, url, path string) error {
	body, err := fetch(ctx, client, url)
	if err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
}
