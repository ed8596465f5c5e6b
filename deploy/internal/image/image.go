// Package image packs programs into OCI images without a container
// engine: one layer, no base, the same bytes for the same content.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// Image is what is to be packed.
type Image struct {
	// Name is the reference it is imported as, REPOSITORY:TAG.
	Name  string
	Files []File
	// User is UID[:GID]; empty is root.
	User       string
	Entrypoint []string
	Cmd        []string
	Env        []string
	WorkDir    string
	Ports      []string
}

// File is a file, a directory or a symbolic link of the image.
type File struct {
	// Path within, absolute.
	Path string
	// Source on this machine, or Content, or Link; none of them is a directory.
	Source  string
	Content []byte
	Link    string
	Mode    int64
	UID     int
}

// Blob is a piece of an image by its digest.
type Blob struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	data      []byte
}

// Data is the piece itself.
func (b *Blob) Data() []byte { return b.data }

// Packed is an image as blobs.
type Packed struct {
	Name                    string
	Config, Layer, Manifest Blob
}

// Media types of the OCI image specification.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
)

func blob(mediaType string, data []byte) Blob {
	sum := sha256.Sum256(data)
	return Blob{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data)), data: data}
}

// Pack makes the blobs. arch is Go's name of the architecture.
func Pack(img *Image, arch string) (*Packed, error) {
	layer, err := img.layer()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Name, err)
	}
	// Not compressed: import is bound by the processor, not by the disk.
	p := &Packed{Name: img.Name, Layer: blob(typeLayer, layer)}
	ports := map[string]struct{}{}
	for _, port := range img.Ports {
		ports[port] = struct{}{}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{
			"User": img.User, "Entrypoint": img.Entrypoint, "Cmd": img.Cmd, "WorkingDir": img.WorkDir, "ExposedPorts": ports,
			"Env": append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, img.Env...),
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{p.Layer.Digest}},
		"history": []any{map[string]any{"created_by": "xebec-images"}},
	})
	if err != nil {
		return nil, err
	}
	p.Config = blob(typeConfig, config)
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": p.Config, "layers": []Blob{p.Layer}})
	if err != nil {
		return nil, err
	}
	p.Manifest = blob(typeManifest, manifest)
	return p, nil
}

// layer is the tar of the files, with the directories above them.
func (img *Image) layer() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	files := slices.Clone(img.Files)
	files = append(files,
		File{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"), Mode: 0o644},
		File{Path: "/etc/group", Content: []byte("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"), Mode: 0o644},
		File{Path: "/tmp", Mode: 0o1777})
	for i := range files {
		if f := &files[i]; f.Source != "" {
			var err error
			if f.Content, err = os.ReadFile(f.Source); err != nil {
				return nil, err
			}
		}
	}
	if err := linked(files); err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	dirs := map[string]bool{"/": true}
	for _, f := range files {
		if err := parents(w, path.Dir(f.Path), dirs); err != nil {
			return nil, err
		}
		if err := f.write(w, dirs); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

func parents(w *tar.Writer, dir string, done map[string]bool) error {
	if done[dir] {
		return nil
	}
	if err := parents(w, path.Dir(dir), done); err != nil {
		return err
	}
	done[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, Format: tar.FormatPAX})
}

func (f *File) write(w *tar.Writer, dirs map[string]bool) error {
	h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: f.Mode, Uid: f.UID, Gid: f.UID, Format: tar.FormatPAX}
	data := f.Content
	switch {
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	case f.Content != nil:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
	default:
		if dirs[f.Path] {
			return nil
		}
		dirs[f.Path] = true
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// WriteArchive writes an OCI layout as a tar, which `ctr images import` and
// other tools read.
func (p *Packed) WriteArchive(out io.Writer) error {
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []any{map[string]any{
		"mediaType": typeManifest, "digest": p.Manifest.Digest, "size": p.Manifest.Size,
		"annotations": map[string]string{"io.containerd.image.name": p.Name, "org.opencontainers.image.ref.name": p.Tag()},
	}}})
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	put := func(name string, data []byte) {
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o444, Format: tar.FormatPAX})
		}
		if err == nil {
			_, err = w.Write(data)
		}
	}
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	put("index.json", index)
	for _, b := range []*Blob{&p.Manifest, &p.Config, &p.Layer} {
		put("blobs/sha256/"+strings.TrimPrefix(b.Digest, "sha256:"), b.data)
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// Tag is what follows the last colon of the name.
func (p *Packed) Tag() string { return p.Name[strings.LastIndexByte(p.Name, ':')+1:] }
