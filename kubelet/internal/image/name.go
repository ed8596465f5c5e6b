package image

import (
	"fmt"
	"regexp"
	"strings"
)

// Name is an image's name taken apart.
type Name struct {
	Host, Path  string
	Tag, Digest string
}

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tag       = regexp.MustCompile(`^[\w][\w.-]{0,127}$`)
	digest    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$`)
	hostName  = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$`)
)

// maxPath of a name without its host, in characters.
const maxPath = 255

// ParseName takes a name apart; docker's short names are completed.
func ParseName(s string) (Name, error) {
	bad := func(why string) (Name, error) {
		return Name{}, fmt.Errorf("couldn't parse image name %q: %s", s, why)
	}
	var n Name
	rest, d, ok := strings.Cut(s, "@")
	if ok {
		if !digest.MatchString(d) {
			return bad("invalid digest format")
		}
		n.Digest = d
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		if n.Tag = rest[i+1:]; !tag.MatchString(n.Tag) {
			return bad("invalid reference format")
		}
		rest = rest[:i]
	}
	first, path, ok := strings.Cut(rest, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		n.Host, n.Path = first, path
	} else {
		n.Host, n.Path = "docker.io", rest
		if !ok {
			n.Path = "library/" + rest
		}
	}
	if !hostName.MatchString(n.Host) {
		return bad("invalid reference format")
	}
	for _, c := range strings.Split(n.Path, "/") {
		if !component.MatchString(c) {
			if strings.ToLower(c) != c && component.MatchString(strings.ToLower(c)) {
				return bad("invalid reference format: repository name must be lowercase")
			}
			return bad("invalid reference format")
		}
	}
	if len(n.Path) > maxPath {
		return bad("repository name must not be more than 255 characters")
	}
	return n, nil
}

// WithTag is the name that is asked of the runtime: as the pod has it, with
// the tag latest if it has neither tag nor digest.
func WithTag(s string) (string, error) {
	n, err := ParseName(s)
	if err != nil {
		return "", err
	}
	if n.Tag == "" && n.Digest == "" {
		return s + ":latest", nil
	}
	return s, nil
}
