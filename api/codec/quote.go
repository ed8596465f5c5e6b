package codec

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain tells which ASCII bytes stand for themselves in a JSON string as
// encoding/json writes it, which also escapes what is special in HTML.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainLength is the length of the longest prefix of plain bytes.
func plainLength(s []byte) int {
	if len(s) < 8 {
		n := 0
		for n < len(s) && plain[s[n]] {
			n++
		}
		return n
	}
	i := 0
	for {
		if special := specialBytes(binary.LittleEndian.Uint64(s[i:])); special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
		if i += 8; i+8 > len(s) {
			if i == len(s) {
				return i
			}
			// The last eight, some of them for the second time.
			i = len(s) - 8
		}
	}
}

// specialBytes has the high bit of each byte set that is not plain. Only the
// lowest one is certain: borrows may mark bytes above it.
func specialBytes(w uint64) uint64 {
	// Subtracting one sets the high bit of a zero byte, and of bytes whose high
	// bit is set, which are not plain either. Of '"' and '&', and of '<' and
	// '>', one differs from the other in one bit.
	return ((w - ones*0x20) | ((w | ones*4) ^ ones*'&' - ones) | ((w | ones*2) ^ ones*'>' - ones) | (w ^ ones*'\\' - ones) | w) & highs
}

// AppendQuoted appends a JSON string as encoding/json would: HTML characters
// escaped, invalid UTF-8 replaced.
func AppendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for {
		n := plainLength(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		s = s[n:]
		dst, n = appendEscaped(dst, s)
		s = s[n:]
	}
}

// appendEscaped appends the first character of s, which is not plain.
func appendEscaped(dst, s []byte) ([]byte, int) {
	c := s[0]
	if c < utf8.RuneSelf {
		switch c {
		case '"', '\\':
			return append(dst, '\\', c), 1
		case '\b':
			return append(dst, '\\', 'b'), 1
		case '\f':
			return append(dst, '\\', 'f'), 1
		case '\n':
			return append(dst, '\\', 'n'), 1
		case '\r':
			return append(dst, '\\', 'r'), 1
		case '\t':
			return append(dst, '\\', 't'), 1
		}
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]), 1
	}
	r, n := utf8.DecodeRune(s)
	switch {
	case r == utf8.RuneError && n == 1:
		return append(dst, `\ufffd`...), 1
	case r == '\u2028' || r == '\u2029':
		return append(dst, '\\', 'u', '2', '0', '2', hexDigits[r&15]), n
	}
	return append(dst, s[:n]...), n
}

// quote appends the first size bytes of b as AppendQuoted does. There is room
// in dst for that many and ten more; b may go on, which saves short strings a
// loop.
func quote(dst, b []byte, size int) []byte {
	n := len(dst)
	out := dst[n : n+size+10]
	out[0] = '"'
	if size < 8 {
		if len(b) < 8 {
			return AppendQuoted(dst, b[:size])
		}
		w := binary.LittleEndian.Uint64(b)
		// What is beyond the string counts as spaces.
		within := uint64(1)<<(8*size) - 1
		if specialBytes(w&within|ones*' '&^within) != 0 {
			return AppendQuoted(dst, b[:size])
		}
		binary.LittleEndian.PutUint64(out[1:], w)
		out[1+size] = '"'
		return dst[:n+size+2]
	}
	s := b[:size]
	for i := 0; ; {
		w := binary.LittleEndian.Uint64(s[i:])
		if specialBytes(w) != 0 {
			return AppendQuoted(dst, s)
		}
		binary.LittleEndian.PutUint64(out[1+i:], w)
		if i += 8; i+8 > size {
			if i == size {
				break
			}
			// The last eight, some of them for the second time.
			i = size - 8
		}
	}
	out[1+size] = '"'
	return dst[:n+size+2]
}

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }
