package codec

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON text token by token. Every method gives up, false, on
// what it does not understand; the caller then decodes another way. Strings
// without escapes alias the text.
type scanner struct {
	s string
	i int
	// depth of values inside of values, against stack exhaustion.
	depth int
}

// maxDepth is well below what a goroutine's stack holds; encoding/json, which
// takes over, has a limit of its own.
const maxDepth = 500

// peek is the next byte after space, 0 at the end.
func (r *scanner) peek() byte {
	for r.i < len(r.s) {
		c := r.s[r.i]
		if c > ' ' {
			return c
		}
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return 0
		}
		r.i++
	}
	return 0
}

// take takes one byte after space.
func (r *scanner) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.i++
	return true
}

// atEnd reports whether only space is left.
func (r *scanner) atEnd() bool {
	r.peek()
	return r.i == len(r.s)
}

// null takes a null if there is one.
func (r *scanner) null() bool {
	if r.peek() == 'n' && strings.HasPrefix(r.s[r.i:], "null") {
		r.i += 4
		return true
	}
	return false
}

func (r *scanner) bool() (v, ok bool) {
	switch c := r.peek(); {
	case c == 't' && strings.HasPrefix(r.s[r.i:], "true"):
		r.i += 4
		return true, true
	case c == 'f' && strings.HasPrefix(r.s[r.i:], "false"):
		r.i += 5
		return false, true
	}
	return false, false
}

// plainString are the bytes that stand for themselves in JSON text.
var plainString = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// string reads a string.
func (r *scanner) string() (string, bool) {
	if r.peek() != '"' {
		return "", false
	}
	start := r.i + 1
	for i := start; i < len(r.s); i++ {
		if c := r.s[i]; plainString[c] {
			continue
		} else if c == '"' {
			r.i = i + 1
			return r.s[start:i], true
		}
		return r.hardString(start, i)
	}
	return "", false
}

// hardString reads a string that has escapes or is not ASCII from i on.
func (r *scanner) hardString(start, i int) (string, bool) {
	escaped, ascii := false, true
	for ; ; i++ {
		if i >= len(r.s) || r.s[i] < ' ' {
			return "", false
		}
		if r.s[i] == '"' {
			break
		}
		if r.s[i] == '\\' {
			escaped = true
			i++
		} else if r.s[i] >= utf8.RuneSelf {
			ascii = false
		}
	}
	text := r.s[start:i]
	// What is not UTF-8 has to be replaced.
	if !ascii && !utf8.ValidString(text) {
		return "", false
	}
	r.i = i + 1
	if escaped {
		return unescape(text)
	}
	return text, true
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		n := strings.IndexByte(s, '\\')
		if n < 0 {
			b = append(b, s...)
			break
		}
		b = append(b, s[:n]...)
		if n+1 >= len(s) {
			return "", false
		}
		c := s[n+1]
		s = s[n+2:]
		if c != 'u' {
			if escapes[c] == 0 {
				return "", false
			}
			b = append(b, escapes[c])
			continue
		}
		first, ok := hex4(s)
		if !ok {
			return "", false
		}
		s = s[4:]
		if utf16.IsSurrogate(first) {
			if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
				return "", false
			}
			second, ok := hex4(s[2:])
			if first = utf16.DecodeRune(first, second); !ok || first == utf8.RuneError {
				return "", false
			}
			s = s[6:]
		}
		b = utf8.AppendRune(b, first)
	}
	return string(b), true
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	for i := range 4 {
		c := s[i] | 0x20
		if s[i]-'0' > 9 && (c < 'a' || c > 'f') {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(v), err == nil
}

// number is the text of a number.
func (r *scanner) number() (string, bool) {
	if c := r.peek(); c != '-' && c-'0' > 9 {
		return "", false
	}
	start := r.i
	if r.s[r.i] == '-' {
		r.i++
	}
	if !r.digits() {
		return "", false
	}
	if r.i < len(r.s) && r.s[r.i] == '.' {
		r.i++
		if n := r.i; !r.anyDigits() || r.i == n {
			return "", false
		}
	}
	if r.i < len(r.s) && r.s[r.i]|0x20 == 'e' {
		r.i++
		if r.i < len(r.s) && (r.s[r.i] == '+' || r.s[r.i] == '-') {
			r.i++
		}
		if !r.anyDigits() {
			return "", false
		}
	}
	return r.s[start:r.i], true
}

// digits takes an integer without leading zeros.
func (r *scanner) digits() bool {
	start := r.i
	return r.anyDigits() && (r.s[start] != '0' || r.i == start+1)
}

func (r *scanner) anyDigits() bool {
	start := r.i
	for r.i < len(r.s) && r.s[r.i]-'0' <= 9 {
		r.i++
	}
	return r.i > start
}

// integer reads an integer that fits.
func (r *scanner) integer(bits int) (int64, bool) {
	text, ok := r.number()
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(text, 10, bits)
	return v, err == nil
}

// value is the text of any value, checked.
func (r *scanner) value() (string, bool) {
	c := r.peek()
	start := r.i
	ok := false
	switch c {
	case '"':
		_, ok = r.string()
	case '{', '[':
		ok = r.container(c)
	case 't', 'f':
		_, ok = r.bool()
	case 'n':
		ok = r.null()
	default:
		_, ok = r.number()
	}
	return r.s[start:r.i], ok
}

// container checks an object or list that begins with open.
func (r *scanner) container(open byte) bool {
	end := open + 2 // "{" and "}", "[" and "]" are two apart
	r.i++
	if r.depth++; r.depth > maxDepth {
		return false
	}
	defer func() { r.depth-- }()
	if r.take(end) {
		return true
	}
	for {
		if open == '{' {
			if _, ok := r.string(); !ok || !r.take(':') {
				return false
			}
		}
		if _, ok := r.value(); !ok {
			return false
		}
		if r.take(end) {
			return true
		}
		if !r.take(',') {
			return false
		}
	}
}
