package fieldmanager

import (
	"cmp"
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// jsonText is a scalar as it stands in a path element.
func jsonText(v value.Value) (string, error) {
	s, err := fieldpath.SerializePathElement(fieldpath.PathElement{Value: &v})
	return strings.TrimPrefix(s, "v:"), err
}

// appendJSONString appends a string as it stands in a path element.
func appendJSONString(dst []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if !plainByte(s[i]) {
			text, err := jsonText(value.NewValueInterface(s))
			return append(dst, text...), err
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), nil
}

// plainByte is true for what stands for itself in JSON however it is written.
func plainByte(b byte) bool {
	return b >= ' ' && b < 0x7f && b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
}

// compareElements orders path elements as they are stored: fields, then keys,
// then values, then indices, each by content.
func compareElements(a, b string) int {
	if a == b {
		return 0
	}
	if a[0] == 'f' && b[0] == 'f' {
		return strings.Compare(a, b)
	}
	if a[0] != b[0] {
		return cmp.Compare(rank(a[0]), rank(b[0]))
	}
	if c, ok := comparePlain(a[2:], b[2:]); ok {
		return c
	}
	x, errX := fieldpath.DeserializePathElement(a)
	y, errY := fieldpath.DeserializePathElement(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

func rank(kind byte) int { return strings.IndexByte("fkvi", kind) }

// comparePlain compares the JSON of two elements token by token; not ok when
// they hold more than plain strings and whole numbers.
func comparePlain(a, b string) (order int, ok bool) {
	for a != "" && b != "" {
		x, restA, okA := token(a)
		y, restB, okB := token(b)
		if !okA || !okB {
			return 0, false
		}
		if c, ok := compareTokens(x, y); !ok || c != 0 {
			return c, ok
		}
		a, b = restA, restB
	}
	return cmp.Compare(len(a), len(b)), true
}

// token splits off the first JSON token: a plain string with its first
// quote, a whole number, or punctuation.
func token(s string) (tok, rest string, ok bool) {
	switch c := s[0]; {
	case c == '"':
		for i := 1; i < len(s); i++ {
			if s[i] == '"' {
				return s[:i], s[i+1:], true
			}
			if s[i] == '\\' {
				return "", "", false
			}
		}
		return "", "", false
	case c == '-' || c >= '0' && c <= '9':
		i := 1
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		if i < len(s) && (s[i] == '.' || s[i] == 'e' || s[i] == 'E') {
			return "", "", false
		}
		return s[:i], s[i:], true
	case c == '{' || c == '}' || c == ',' || c == ':':
		return s[:1], s[1:], true
	}
	return "", "", false
}

func compareTokens(a, b string) (order int, ok bool) {
	if a == b {
		return 0, true
	}
	if a == "}" || b == "}" {
		// One has fewer keys.
		return cmp.Compare(boolInt(b == "}"), boolInt(a == "}")), a == "," || b == ","
	}
	isNumber := func(s string) bool { return s[0] == '-' || s[0] >= '0' && s[0] <= '9' }
	switch {
	case a[0] == '"' && b[0] == '"':
		return strings.Compare(a, b), true
	case isNumber(a) && isNumber(b):
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		return cmp.Compare(x, y), errX == nil && errY == nil
	case isNumber(a) && b[0] == '"':
		return -1, true
	case a[0] == '"' && isNumber(b):
		return 1, true
	}
	return 0, false
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// canonical reports whether a key or value element is written as we would
// write it, so that equal elements are equal strings.
func canonical(element string) bool {
	if element[0] == 'f' {
		return true
	}
	if plainElement(element[2:]) {
		return true
	}
	pe, err := fieldpath.DeserializePathElement(element)
	if err != nil {
		return false
	}
	again, err := fieldpath.SerializePathElement(pe)
	return err == nil && again == element
}

// plainElement is canonical for the usual: {"name":"c"}, "x", 80, with names
// in order and nothing that could be written in another way.
func plainElement(s string) bool {
	names := ""
	inKeys := strings.HasPrefix(s, "{")
	expectName := inKeys
	for s != "" {
		tok, rest, ok := token(s)
		if !ok {
			return false
		}
		s = rest
		switch c := tok[0]; {
		case c == '"':
			for i := 1; i < len(tok); i++ {
				if !plainByte(tok[i]) {
					return false
				}
			}
			if expectName {
				if tok <= names {
					return false
				}
				names, expectName = tok, false
			}
		case c == ',':
			expectName = inKeys
		case c == '-' || len(tok) > 1 && c == '0':
			return false
		}
	}
	return true
}
