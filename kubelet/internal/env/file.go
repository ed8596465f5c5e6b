package env

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// MaxFile is how long a file of variables may be, in bytes.
const MaxFile = 64 << 10

func (m *maker) fileKey(s *corev1.FileKeySelector) (string, bool, error) {
	optional := isTrue(s.Optional)
	if m.File == nil {
		return "", false, fmt.Errorf("environment variable from the file %s of volume %q: volumes can't be read here", s.Path, s.VolumeName)
	}
	raw, err := m.File(s.VolumeName, s.Path)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("couldn't parse env file: %w", err)
	}
	v, ok, err := ParseFile(string(raw), s.Key)
	if err != nil {
		return "", false, fmt.Errorf("couldn't parse env file: %s of volume %q: %w", s.Path, s.VolumeName, err)
	}
	if !ok && !optional {
		return "", false, fmt.Errorf("environment variable key %q not found in file %q", s.Key, s.Path)
	}
	return v, ok, nil
}

// ParseFile finds a key in a file of lines NAME='value'. A value may go over
// several lines; what it holds is taken as it is. Blank lines and lines that
// begin with # are skipped. The last of several values counts, as in a shell.
func ParseFile(text, key string) (value string, found bool, err error) {
	for line := 1; text != ""; {
		trimmed := strings.TrimLeft(text, " \t")
		if nl := strings.IndexByte(text, '\n'); trimmed == "" || trimmed[0] == '\n' || trimmed[0] == '#' || trimmed[0] == '\r' {
			if nl < 0 {
				break
			}
			text = text[nl+1:]
			line++
			continue
		}
		name, rest, ok := strings.Cut(trimmed, "=")
		if !ok || strings.ContainsAny(name, " \t\n") || !valid(name) {
			return "", false, fmt.Errorf("line %d: want NAME='value'", line)
		}
		if !strings.HasPrefix(rest, "'") {
			return "", false, fmt.Errorf("line %d: the value of %s must be in single quotes", line, name)
		}
		v, after, ok := strings.Cut(rest[1:], "'")
		if !ok {
			return "", false, fmt.Errorf("line %d: the value of %s has no closing quote", line, name)
		}
		tail, next, _ := strings.Cut(after, "\n")
		if strings.TrimSpace(tail) != "" && !strings.HasPrefix(strings.TrimSpace(tail), "#") {
			return "", false, fmt.Errorf("line %d: unexpected text behind the value of %s", line, name)
		}
		if name == key {
			value, found = v, true
		}
		line += strings.Count(v, "\n") + 1
		text = next
	}
	return value, found, nil
}
