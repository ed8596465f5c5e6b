// Package image gets images onto the node and off it again: pulls with the
// pod's credentials and growing pauses after failures, and a collector that
// makes room by what was not used for longest.
package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Keyring finds credentials for an image.
type Keyring []entry

type entry struct {
	host, path string // host may hold * in its parts
	auth       *runtimeapi.AuthConfig
	source     *Source // nil for the node's own
}

type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// KeyringOf reads the credentials in a pod's pull secrets. Secrets that can't
// be used are skipped and named in the errors.
func KeyringOf(secrets []*corev1.Secret) (Keyring, []error) {
	var k Keyring
	var errs []error
	for _, s := range secrets {
		var more Keyring
		var err error
		switch s.Type {
		case corev1.SecretTypeDockerConfigJson:
			more, err = ParseDockerConfig(s.Data[corev1.DockerConfigJsonKey])
		case corev1.SecretTypeDockercfg:
			more, err = parseAuths(s.Data[corev1.DockerConfigKey])
		default:
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("image pull secret %s/%s: %w", s.Namespace, s.Name, err))
			continue
		}
		for i := range more {
			more[i].source = &Source{UID: string(s.UID), Namespace: s.Namespace, Name: s.Name, Hash: hashOf(more[i].auth)}
		}
		k = append(k, more...)
	}
	return k, errs
}

// ParseDockerConfig reads a docker config.json.
func ParseDockerConfig(raw []byte) (Keyring, error) {
	var file struct {
		Auths json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("no docker configuration: %w", withoutContent(err))
	}
	if len(file.Auths) == 0 {
		return nil, nil
	}
	return parseAuths(file.Auths)
}

// withoutContent keeps secrets out of messages.
func withoutContent(err error) error {
	if s, ok := err.(*json.SyntaxError); ok {
		return fmt.Errorf("JSON is broken at byte %d", s.Offset)
	}
	return fmt.Errorf("JSON of another shape")
}

func parseAuths(raw []byte) (Keyring, error) {
	auths := map[string]dockerAuth{}
	if err := json.Unmarshal(raw, &auths); err != nil {
		return nil, fmt.Errorf("no docker credentials: %w", withoutContent(err))
	}
	var k Keyring
	for registry, a := range auths {
		host, path, err := splitRegistry(registry)
		if err != nil {
			return nil, err
		}
		auth := &runtimeapi.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
		if a.Auth != "" {
			if auth.Username, auth.Password, err = decodeAuth(a.Auth); err != nil {
				return nil, fmt.Errorf("auth of %s: %w", registry, err)
			}
		}
		k = append(k, entry{host: host, path: path, auth: auth})
	}
	return k, nil
}

func decodeAuth(s string) (user, password string, err error) {
	enc := base64.StdEncoding
	if !strings.HasSuffix(strings.TrimSpace(s), "=") {
		enc = base64.RawStdEncoding
	}
	raw, err := enc.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return "", "", fmt.Errorf("is not base64 of user:password")
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", fmt.Errorf("is not base64 of user:password")
	}
	return user, password, nil
}

func splitRegistry(s string) (host, path string, err error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", "", fmt.Errorf("registry %q: %w", s, err)
	}
	path = u.Path
	// Docker's own way to write a registry, with the version of its protocol.
	if strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "/v1/") {
		path = path[3:]
	}
	return u.Host, strings.TrimSuffix(path, "/"), nil
}

// dockerHosts are names of docker's registry.
var dockerHosts = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// Lookup gives the credentials that fit an image, the most specific first.
func (k Keyring) Lookup(image string) []*runtimeapi.AuthConfig {
	fit := k.find(image)
	out := make([]*runtimeapi.AuthConfig, len(fit))
	for i := range fit {
		out[i] = fit[i].auth
	}
	return out
}

func (k Keyring) find(image string) []entry {
	r, err := ParseName(image)
	if err != nil {
		return nil
	}
	var fit []entry
	for _, e := range k {
		if e.fits(r) {
			fit = append(fit, e)
		}
	}
	slices.SortStableFunc(fit, func(a, b entry) int {
		if len(a.path) != len(b.path) {
			return len(b.path) - len(a.path)
		}
		return strings.Compare(b.host, a.host)
	})
	return fit
}

func (e entry) fits(r Name) bool {
	if slices.Contains(dockerHosts, r.Host) && slices.Contains(dockerHosts, e.host) {
		return true
	}
	if !hostFits(e.host, r.Host) {
		return false
	}
	return e.path == "" || strings.HasPrefix("/"+r.Path, e.path)
}

func hostFits(pattern, host string) bool {
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(p) != len(h) {
		return false
	}
	for i := range p {
		if ok, err := path.Match(p[i], h[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// Matches reports whether a repository, as docker.io/library/web, is one that a
// pattern as *.registry.io:5000/team means: the host's parts may hold *, the
// port is the same, and the path is the beginning of the repository's.
func Matches(pattern, repository string) (bool, error) {
	read := func(s string) (host, port, path string, err error) {
		if !strings.Contains(s, "://") {
			s = "https://" + s
		}
		u, err := url.Parse(s)
		if err != nil {
			return "", "", "", fmt.Errorf("is not of the form HOST[:PORT][/PATH]")
		}
		if u.Hostname() == "" {
			return "", "", "", fmt.Errorf("has no host")
		}
		return u.Hostname(), u.Port(), u.Path, nil
	}
	host, port, start, err := read(pattern)
	if err != nil {
		return false, err
	}
	for _, part := range strings.Split(host, ".") {
		if _, err := path.Match(part, ""); err != nil {
			return false, fmt.Errorf("has the part %q: %w", part, err)
		}
	}
	other, otherPort, rest, err := read(repository)
	if err != nil {
		return false, err
	}
	return port == otherPort && hostFits(host, other) && strings.HasPrefix(rest, start), nil
}
