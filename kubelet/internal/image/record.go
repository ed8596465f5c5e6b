package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// An image that one pod's secret opened is on the node for all its pods: who
// may use it without a pull is who has shown credentials that open it. Which
// did is kept on disk, in Kubernetes' form, below image_manager.

// Verification is whose credentials are verified for images that are there.
type Verification string

// The policies.
const (
	NeverVerify            Verification = "NeverVerify"
	NeverVerifyPreloaded   Verification = "NeverVerifyPreloadedImages"
	NeverVerifyAllowlisted Verification = "NeverVerifyAllowlistedImages"
	AlwaysVerify           Verification = "AlwaysVerify"
)

// Source is the secret that credentials are from.
type Source struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hash of the credentials, which are nowhere else on disk.
	Hash string `json:"credentialHash"`
}

func hashOf(a *runtimeapi.AuthConfig) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{a.GetUsername(), a.GetPassword(), a.GetAuth(), a.GetIdentityToken(), a.GetRegistryToken()}))
	return hex.EncodeToString(sum[:])
}

// access is who has opened an image by one of its names.
type access struct {
	Secrets []Source `json:"kubernetesSecrets,omitempty"`
	// All: it was opened without credentials, or with the node's.
	All bool `json:"nodePodsAccessible,omitempty"`
}

// pulled is what is known of an image that was pulled.
type pulled struct {
	Kind       string             `json:"kind"`
	APIVersion string             `json:"apiVersion"`
	Updated    time.Time          `json:"lastUpdatedTime"`
	Image      string             `json:"imageRef"`
	Access     map[string]*access `json:"credentialMapping"`
}

// intent is a pull that began: whoever finds it without its end does not know
// what opened the image.
type intent struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Image      string `json:"image"`
}

const recordVersion = "kubelet.config.k8s.io/v1beta1"

// maxSources of one image and name: credentials that rotate must not fill the disk.
const maxSources = 100

// Records are who opened which image.
type Records struct {
	dir    string
	policy Verification
	allow  []string

	mu      sync.Mutex
	pulled  map[string]*pulled // guarded by mu; by the runtime's id
	pulling map[string]int     // guarded by mu; pulls under way, by name
	broken  map[string]bool    // guarded by mu; those that an earlier kubelet did not end
}

// OpenRecords reads what was kept below dir. allow are the images of
// NeverVerifyAllowlisted: names without tag, whose last part may be *.
func OpenRecords(dir string, policy Verification, allow []string) (*Records, error) {
	r := &Records{dir: dir, policy: policy, allow: allow, pulled: map[string]*pulled{}, pulling: map[string]int{}, broken: map[string]bool{}}
	const private = 0o700
	for _, d := range []string{"pulled", "pulling"} {
		if err := os.MkdirAll(filepath.Join(dir, d), private); err != nil {
			return nil, err
		}
	}
	err := each(filepath.Join(dir, "pulled"), func(p *pulled) {
		if p.Image != "" {
			r.pulled[p.Image] = p
		}
	})
	return r, errors.Join(err, each(filepath.Join(dir, "pulling"), func(i *intent) {
		if i.Image != "" {
			r.broken[i.Image] = true
		}
	}))
}

// each reads all files of a directory; one that is broken is as none, and
// whoever relied on it shows its credentials again.
func each[T any](dir string, f func(*T)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		one := new(T)
		if json.Unmarshal(raw, one) == nil {
			f(one)
		}
	}
	return nil
}

func fileName(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + hex.EncodeToString(sum[:])
}

func (r *Records) write(sub, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(r.dir, sub, fileName(name))
	if err := os.WriteFile(path+".tmp", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (r *Records) remove(sub, name string) error {
	if err := os.Remove(filepath.Join(r.dir, sub, fileName(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// repository is an image's name without tag and digest.
func repository(image string) string {
	n, err := ParseName(image)
	if err != nil {
		return image
	}
	return n.Host + "/" + n.Path
}

// Open reports whether a pod with these credentials may use an image that is
// there, without asking the registry. keys are looked up only if need be.
func (r *Records) Open(image, id string, keys func() Keyring) bool {
	if r == nil || r.policy == NeverVerify {
		return true
	}
	name := repository(image)
	r.mu.Lock()
	p, begun := r.pulled[id], r.pulling[image] > 0 || r.broken[image]
	var a access
	if p != nil && p.Access[name] != nil {
		a = access{Secrets: slices.Clone(p.Access[name].Secrets), All: p.Access[name].All}
	}
	r.mu.Unlock()
	switch {
	case p == nil && begun:
		return false
	case p == nil:
		return r.policy == NeverVerifyPreloaded || r.policy == NeverVerifyAllowlisted && r.allowed(name)
	case a.All:
		return true
	case len(a.Secrets) == 0 || keys == nil:
		return false
	}
	for _, e := range keys().find(image) {
		if e.source != nil && slices.ContainsFunc(a.Secrets, e.source.opens) {
			return true
		}
	}
	return false
}

// opens: the same credentials, or the same secret, which may have rotated them.
func (s *Source) opens(other Source) bool {
	return s.Hash == other.Hash || s.UID == other.UID && s.Namespace == other.Namespace && s.Name == other.Name
}

func (r *Records) allowed(name string) bool {
	return slices.ContainsFunc(r.allow, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, prefix)
		}
		return name == pattern || name == repository(pattern)
	})
}

// begin notes that an image is about to be pulled.
func (r *Records) begin(image string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulling[image]++
	if r.pulling[image] > 1 {
		return nil
	}
	return r.write("pulling", image, intent{Kind: "ImagePullIntent", APIVersion: recordVersion, Image: image})
}

// failed: nothing was pulled.
func (r *Records) failed(image string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end(image)
}

// end needs the lock.
func (r *Records) end(image string) error {
	if r.pulling[image]--; r.pulling[image] > 0 {
		return nil
	}
	delete(r.pulling, image)
	delete(r.broken, image)
	return r.remove("pulling", image)
}

// done notes what opened an image: a secret's credentials, or what all pods of
// the node have.
func (r *Records) done(image, id string, by *Source) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pulled[id]
	if p == nil {
		p = &pulled{Kind: "ImagePulledRecord", APIVersion: recordVersion, Image: id, Access: map[string]*access{}}
	}
	name := repository(image)
	if p.Access[name] == nil {
		p.Access[name] = &access{}
	}
	p.Access[name].add(by)
	p.Updated = time.Now().UTC()
	r.pulled[id] = p
	return errors.Join(r.write("pulled", id, p), r.end(image))
}

func (a *access) add(by *Source) {
	if by == nil {
		a.All, a.Secrets = true, nil
		return
	}
	if a.All {
		return
	}
	a.Secrets = slices.DeleteFunc(a.Secrets, func(s Source) bool {
		return s.UID == by.UID && s.Namespace == by.Namespace && s.Name == by.Name || s.Hash == by.Hash
	})
	a.Secrets = append(a.Secrets, *by)
	if n := len(a.Secrets) - maxSources; n > 0 {
		a.Secrets = a.Secrets[n:]
	}
}

// forget drops what is known of an image that is gone.
func (r *Records) forget(id string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pulled, id)
	return r.remove("pulled", id)
}
