package codec

import (
	"encoding/binary"
	"math/bits"
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

// within are the bytes of two words that are within a string of up to 16.
var within = func() (t [17][2]uint64) {
	for size := range t {
		t[size] = [2]uint64{1<<(8*min(size, 8)) - 1, 1<<(8*max(size-8, 0)) - 1}
	}
	return t
}()

// quote writes the size bytes of the source at i as AppendQuoted does. There
// is room for the rest of a name and a short value.
func (p *pass) quote(i, size int) {
	n := p.n
	if size <= 16 && i+16 <= len(p.src) {
		in, out := p.src[i:i+16], p.dst[n:n+18]
		a, b := binary.LittleEndian.Uint64(in), binary.LittleEndian.Uint64(in[8:])
		// What borrows mark wrongly is above what is special indeed.
		if specialBytes(a)&within[size][0]|specialBytes(b)&within[size][1] == 0 {
			out[0] = '"'
			binary.LittleEndian.PutUint64(out[1:], a)
			binary.LittleEndian.PutUint64(out[9:], b)
			out[1+size] = '"'
			p.n = n + size + 2
			return
		}
	} else if size > 16 && p.quoteLong(i, size) {
		return
	}
	p.resume(AppendQuoted(p.dst[:n], p.src[i:i+size]))
}

// quoteLong is quote for plain strings of more than 16 bytes; others it leaves
// alone, false.
func (p *pass) quoteLong(i, size int) bool {
	p.room(size + 2)
	in, out := p.src[i:i+size], p.dst[p.n:p.n+size+2]
	out[0] = '"'
	for at := 0; ; {
		a, b := binary.LittleEndian.Uint64(in[at:]), binary.LittleEndian.Uint64(in[at+8:])
		if specialBytes(a)|specialBytes(b) != 0 {
			return false
		}
		binary.LittleEndian.PutUint64(out[at+1:], a)
		binary.LittleEndian.PutUint64(out[at+9:], b)
		if at == size-16 {
			break
		}
		// The last sixteen, some of them for the second time.
		at = min(at+16, size-16)
	}
	out[size+1] = '"'
	p.n += size + 2
	return true
}
