package nodetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Registry serves the agent's image under every name but those below missing/,
// to those who have the password where there is one.
type Registry struct {
	Address string
	// Refused counts requests without the password, Pulled manifests given.
	Refused, Pulled atomic.Int64

	user, password string
	blobs          map[string][]byte // by digest; read-only
	manifest       []byte
	server         *http.Server
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Registry starts a registry at a port of the node's loopback.
func (n *Node) Registry(port int, user, password string) (*Registry, error) {
	r := &Registry{Address: fmt.Sprintf("127.0.0.1:%d", port), user: user, password: password, blobs: map[string][]byte{}}
	if err := r.fill(filepath.Join(n.Dir, "agent.tar.bin")); err != nil {
		return nil, err
	}
	var l net.Listener
	err := n.within(func() (err error) {
		l, err = net.Listen("tcp4", r.Address)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.server = &http.Server{Handler: r}
	go func() { _ = r.server.Serve(l) }() // until it is closed
	return r, nil
}

// Close ends it.
func (r *Registry) Close() error { return r.server.Close() }

func (r *Registry) fill(program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	layer, err := pack([]file{{name: "tmp/", mode: 0o1777}, {name: "bin/", mode: 0o755}, {name: "bin/agent", mode: 0o755, content: content},
		{name: "registry", mode: 0o644, content: []byte(r.Address)}, // no two registries have the same image
	})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": []string{"/bin/agent"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return err
	}
	descriptor := func(kind string, b []byte) map[string]any {
		r.blobs[digest(b)] = b
		return map[string]any{"mediaType": kind, "digest": digest(b), "size": len(b)}
	}
	r.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor("application/vnd.oci.image.config.v1+json", config),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	return err
}

// ServeHTTP implements what pulling needs of the distribution's protocol.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if user, password, _ := req.BasicAuth(); r.password != "" && (user != r.user || password != r.password) {
		r.Refused.Add(1)
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)) // the client may have gone
		return
	}
	parts := strings.Split(req.URL.Path, "/")
	last, kind := parts[len(parts)-1], ""
	if len(parts) > 2 {
		kind = parts[len(parts)-2]
	}
	body, media := []byte(nil), "application/octet-stream"
	switch {
	case req.URL.Path == "/v2/":
		return
	case strings.HasPrefix(req.URL.Path, "/v2/missing/"):
	case kind == "manifests":
		body, media = r.manifest, manifestType
		if req.Method == http.MethodGet {
			r.Pulled.Add(1)
		}
	case kind == "blobs":
		body = r.blobs[last]
	}
	if body == nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Docker-Content-Digest", digest(body))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have gone
	}
}

// within runs a function on a thread of the node's network. The thread goes
// back to its own namespace: one that ended would take the programs that it
// started along.
func (n *Node) within(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	ns, err := os.Open("/var/run/netns/" + n.netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
			panic(back) // what runs on this thread next would be elsewhere
		}
	}()
	return f()
}
