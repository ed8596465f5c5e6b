package nodetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Images that every node has.
const (
	Agent = "test.xebec.dev/agent:1"
	Pause = "test.xebec.dev/pause:1"
)

// here is this directory.
func here() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// image builds a program of this directory's neighbours into an image.
func image(name, program, to string) error {
	binary := to + ".bin"
	if err := Build(filepath.Join(filepath.Dir(here()), program), binary); err != nil {
		return err
	}
	return Image(name, program, binary, to)
}

// Build builds the program of a directory, for containers: without C.
func Build(dir, binary string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	return nil
}

// Image packs a program into an image of one layer, as an archive that ctr
// imports; it is the entry point, /bin/PROGRAM.
func Image(name, program, binary, to string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	layer, err := pack([]file{
		{name: "tmp/", mode: 0o1777}, {name: "etc/", mode: 0o755}, {name: "bin/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n")},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\n")},
		{name: "bin/" + program, mode: 0o755, content: content},
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/bin/" + program}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	whole, err := pack([]file{{name: "config.json", mode: 0o644, content: config}, {name: "layer.tar", mode: 0o644, content: layer}, {name: "manifest.json", mode: 0o644, content: manifest}})
	if err != nil {
		return err
	}
	return os.WriteFile(to, whole, 0o600)
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.name[len(f.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
