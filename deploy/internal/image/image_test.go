package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func testImage(t *testing.T) *Image {
	t.Helper()
	src := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(src, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Image{Name: "xebec.dev/some/thing:v1", User: "65532:65532", Entrypoint: []string{"/usr/bin/thing"}, Ports: []string{"80/tcp"},
		Files: []File{{Path: "/usr/bin/thing", Source: src, Mode: 0o755}, {Path: "/usr/bin/other", Link: "thing"}, {Path: "/data", Mode: 0o700, UID: 65532}}}
}

func read(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Typeflag == tar.TypeSymlink {
			raw = []byte("-> " + h.Linkname)
		}
		out[name] = raw
	}
}

// TestArchiveIsAnOCILayout: every digest is that of its content, from the
// index down to the layer's files.
func TestArchiveIsAnOCILayout(t *testing.T) {
	p, err := Pack(testImage(t), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteArchive(&b); err != nil {
		t.Fatal(err)
	}
	files := read(t, &b)
	if string(files["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %q", files["oci-layout"])
	}
	blob := func(digest string, size int64) []byte {
		raw, ok := files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")]
		sum := sha256.Sum256(raw)
		if !ok || int64(len(raw)) != size || "sha256:"+hex.EncodeToString(sum[:]) != digest {
			t.Fatalf("blob %s of %d bytes is not there or not itself", digest, size)
		}
		return raw
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Size        int64
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	m := index.Manifests[0]
	if m.Annotations["io.containerd.image.name"] != "xebec.dev/some/thing:v1" || m.Annotations["org.opencontainers.image.ref.name"] != "v1" {
		t.Errorf("annotations %v", m.Annotations)
	}
	var manifest struct{ Config, Layer0 Blob }
	var layers struct{ Layers []Blob }
	raw := blob(m.Digest, m.Size)
	if err := errors.Join(json.Unmarshal(raw, &manifest), json.Unmarshal(raw, &layers)); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Architecture, OS string
		Config           struct {
			User       string
			Entrypoint []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(blob(manifest.Config.Digest, manifest.Config.Size), &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Architecture != "amd64" || config.OS != "linux" || config.RootFS.DiffIDs[0] != layers.Layers[0].Digest {
		t.Errorf("configuration %+v", config)
	}
	content := read(t, bytes.NewReader(blob(layers.Layers[0].Digest, layers.Layers[0].Size)))
	if string(content["usr/bin/thing"]) != "#!/bin/sh\n" || string(content["usr/bin/other"]) != "-> thing" {
		t.Errorf("content %q", content)
	}
	for _, dir := range []string{"usr/", "usr/bin/", "data/", "tmp/", "etc/passwd"} {
		if _, ok := content[dir]; !ok {
			t.Errorf("the layer has no %s", dir)
		}
	}
}

func TestSameContentSameDigest(t *testing.T) {
	img := testImage(t)
	a, err := Pack(img, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Pack(img, "amd64")
	if err != nil || a.Manifest.Digest != b.Manifest.Digest {
		t.Errorf("%s and %s: %v", a.Manifest.Digest, b.Manifest.Digest, err)
	}
}

// TestDynamicProgram: it is packed with its loader and its libraries, and
// refused where one of them is missing.
func TestDynamicProgram(t *testing.T) {
	dir := t.TempDir()
	build := func(name, code string, more ...string) string {
		src, out := filepath.Join(dir, name+".c"), filepath.Join(dir, name)
		if err := os.WriteFile(src, []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command("cc", append([]string{"-o", out, src}, more...)...).CombinedOutput(); err != nil {
			t.Fatalf("cc: %v %s", err, said)
		}
		return out
	}
	library := File{Path: "/lib/x/libfour.so", Source: build("libfour.so", "int four(void) { return 4; }\n", "-shared", "-nostdlib"), Mode: 0o644}
	program := File{Path: "/a", Source: build("a", "int four(void); int main(void) { return four(); }\n", "-L"+dir, "-lfour"), Mode: 0o755}
	raw, err := os.ReadFile(program.Source)
	if err != nil {
		t.Fatal(err)
	}
	path, _ := asks(raw)
	// What there is of C's library is another name for the loader.
	loader, libc := File{Path: path, Content: []byte("loader")}, File{Path: "/lib/libc.so.6", Link: path}
	for _, c := range []struct {
		files []File
		want  string
	}{
		{[]File{program, library, loader, libc}, ""},
		{[]File{program}, "loader " + path + " is not in the image"},
		{[]File{program, loader, libc}, "is linked with libfour.so, which is not in the image"},
		{[]File{program, library, loader}, "is linked with libc.so.6, which is not in the image"},
	} {
		_, err := Pack(&Image{Name: "a:b", Files: c.files}, "amd64")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestTree: a tree of files beside the programs is in kube-proxy's image as it
// is, and the programs in it do not run without their libraries.
func TestTree(t *testing.T) {
	bin := t.TempDir()
	dir := filepath.Join(bin, IPTables, "usr/sbin")
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "multi"), []byte("x"), 0o755), os.Symlink("multi", filepath.Join(dir, "iptables")),
		os.WriteFile(filepath.Join(bin, IPTables, "usr/copyright"), []byte("free"), 0o644), os.WriteFile(filepath.Join(bin, "kube-proxy"), []byte("program"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Set(bin, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(set, func(i Image) bool { return strings.Contains(i.Name, "/kube-proxy:") })
	p, err := Pack(&set[at], "amd64")
	if err != nil {
		t.Fatal(err)
	}
	content := read(t, bytes.NewReader(p.Layer.Data()))
	for name, want := range map[string]string{"usr/sbin/multi": "x", "usr/sbin/iptables": "-> multi", "usr/copyright": "free", "usr/local/bin/kube-proxy": "program"} {
		if string(content[name]) != want {
			t.Errorf("%s is %q, want %q", name, content[name], want)
		}
	}
}

func TestSetIsWhatClustersRun(t *testing.T) {
	names := map[string]bool{}
	set, err := Set("bin", "/bin/busybox", []string{"sh", "sh", "wget", "busybox"})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range set {
		if names[img.Name] {
			t.Errorf("image %s is there twice", img.Name)
		}
		names[img.Name] = true
	}
	for _, n := range []string{"kube-apiserver:v1.37.2", "kube-controller-manager:v1.37.2", "kube-scheduler:v1.37.2", "kube-proxy:v1.37.2", "etcd:v3.7.3", "coredns:v1.15.0", "pause:3.10.1", "web:v1", "busybox:v1"} {
		if !names["xebec.dev/"+n] {
			t.Errorf("there is no image %s", n)
		}
	}
}

// registry keeps what is pushed, and refuses what a registry would.
type registry struct {
	mu    sync.Mutex // guards what follows
	blobs map[string][]byte
	tags  map[string][]byte
}

func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(q.Body)
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case q.Method == http.MethodHead:
		if _, ok := r.blobs[q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]]; !ok {
			w.WriteHeader(http.StatusNotFound)
		}
	case q.Method == http.MethodPost:
		w.Header().Set("Location", "/v2/upload/1?state=x")
		w.WriteHeader(http.StatusAccepted)
	case strings.HasPrefix(q.URL.Path, "/v2/upload/"):
		sum := sha256.Sum256(body)
		if d := q.URL.Query().Get("digest"); d != "sha256:"+hex.EncodeToString(sum[:]) || q.URL.Query().Get("state") != "x" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.blobs[q.URL.Query().Get("digest")] = body
		w.WriteHeader(http.StatusCreated)
	default:
		r.tags[q.URL.Path] = body
		w.WriteHeader(http.StatusCreated)
	}
}

func TestPush(t *testing.T) {
	r := &registry{blobs: map[string][]byte{}, tags: map[string][]byte{}}
	s := httptest.NewServer(r)
	defer s.Close()
	p, err := Pack(testImage(t), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ref, err := Push(t.Context(), p, s.URL+"/team")
		if err != nil || ref != strings.TrimPrefix(s.URL, "http://")+"/team/thing:v1" {
			t.Fatalf("pushed as %s: %v", ref, err)
		}
	}
	if !bytes.Equal(r.tags["/v2/team/thing/manifests/v1"], p.Manifest.Data()) || len(r.blobs) != 2 {
		t.Errorf("the registry has %d blobs and %d tags", len(r.blobs), len(r.tags))
	}
	if _, err := Push(t.Context(), p, "10.0.0.5:5000"); err == nil {
		t.Error("a registry without scheme was taken")
	}
}
