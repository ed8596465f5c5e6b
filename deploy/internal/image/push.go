package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Push puts an image into a registry, as REGISTRY/REPOSITORY:TAG where the
// repository is the last part of the image's own name. base is the registry's
// URL, with a path before the repository if it has one:
// http://10.0.0.5:5000 or https://registry.example/team.
func Push(ctx context.Context, p *Packed, base string) (ref string, err error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("registry %q: expected a URL such as http://10.0.0.5:5000", base)
	}
	repo := strings.Trim(u.Path+"/"+p.Repository(), "/")
	api := u.Scheme + "://" + u.Host + "/v2/" + repo
	for _, b := range []*Blob{&p.Layer, &p.Config} {
		if err := pushBlob(ctx, api, b); err != nil {
			return "", fmt.Errorf("push %s: %w", p.Name, err)
		}
	}
	_, err = call(ctx, http.MethodPut, api+"/manifests/"+p.Tag(), typeManifest, p.Manifest.data, http.StatusCreated)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", p.Name, err)
	}
	return u.Host + "/" + repo + ":" + p.Tag(), nil
}

// Repository is the last part of the name.
func (p *Packed) Repository() string {
	name := p.Name[:strings.LastIndexByte(p.Name, ':')]
	return name[strings.LastIndexByte(name, '/')+1:]
}

func pushBlob(ctx context.Context, api string, b *Blob) error {
	if _, err := call(ctx, http.MethodHead, api+"/blobs/"+b.Digest, "", nil, http.StatusOK); err == nil {
		return nil
	}
	resp, err := call(ctx, http.MethodPost, api+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	to, err := resp.Location()
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", b.Digest)
	to.RawQuery = q.Encode()
	_, err = call(ctx, http.MethodPut, to.String(), "application/octet-stream", b.data, http.StatusCreated)
	return err
}

func call(ctx context.Context, method, to, mediaType string, body []byte, want int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to tell
		return nil, fmt.Errorf("%s %s: %s %s", method, req.URL.Path, resp.Status, bytes.TrimSpace(said))
	}
	return resp, nil
}
