package core

import (
	"strings"
)

// imageTag is the tag of an image reference, "latest" when it has neither tag
// nor digest, and "" when it has only a digest or is not a valid reference.
func imageTag(image string) string {
	name, digest, hasDigest := strings.Cut(image, "@")
	if hasDigest && !validDigest(digest) {
		return ""
	}
	tag := ""
	// A colon after the last slash starts a tag; before it, a port.
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		if !validImageTag(tag) {
			return ""
		}
	}
	if !validImageName(name) || (!hasDigest && tag == "" && isHex64(name)) {
		return ""
	}
	if tag == "" && !hasDigest {
		return "latest"
	}
	return tag
}

// validImageName checks [domain/]path. What stands before the first slash is
// a domain if it looks like a host: a dot, a port, an upper case letter or
// localhost.
func validImageName(name string) bool {
	path := name
	domain := "docker.io"
	if first, rest, ok := strings.Cut(name, "/"); ok && looksLikeHost(first) {
		if !validImageDomain(first) {
			return false
		}
		domain, path = first, rest
	}
	full := len(domain) + 1 + len(path)
	if domain == "docker.io" && !strings.Contains(path, "/") {
		full += len("library/")
	}
	if path == "" || full > 255 {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if !validImageComponent(part) {
			return false
		}
	}
	return true
}

func looksLikeHost(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || strings.ToLower(s) != s
}

func validImageDomain(d string) bool {
	host := d
	if strings.HasPrefix(d, "[") {
		end := strings.IndexByte(d, ']')
		if end < 2 {
			return false
		}
		for i := 1; i < end; i++ {
			if c := d[i]; !isHexDigit(c) && c != ':' {
				return false
			}
		}
		return d[end+1:] == "" || d[end+1] == ':' && allDigits(d[end+2:])
	}
	if h, port, ok := strings.Cut(d, ":"); ok {
		if !allDigits(port) {
			return false
		}
		host = h
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

// validImageComponent takes lower case alphanumerics joined by one of
// ".", "_", "__" or any number of dashes.
func validImageComponent(s string) bool {
	for {
		n := 0
		for n < len(s) && isLowerAlnum(s[n]) {
			n++
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		sep := 1
		switch {
		case strings.HasPrefix(s, "__"):
			sep = 2
		case s[0] == '-':
			for sep < len(s) && s[sep] == '-' {
				sep++
			}
		case s[0] != '.' && s[0] != '_':
			return false
		}
		s = s[sep:]
	}
}

func validImageTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// validDigest knows the three registered algorithms; their hex is lower case.
func validDigest(s string) bool {
	algorithm, sum, _ := strings.Cut(s, ":")
	want := 0
	switch algorithm {
	case "sha256":
		want = 64
	case "sha384":
		want = 96
	case "sha512":
		want = 128
	}
	return want != 0 && len(sum) == want && isLowerHex(sum)
}

// isHex64 finds bare image IDs, which are no names.
func isHex64(s string) bool { return len(s) == 64 && isLowerHex(s) }

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isLowerAlnum(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' }

func isAlnum(c byte) bool { return isLowerAlnum(c) || c >= 'A' && c <= 'Z' }
