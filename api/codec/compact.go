package codec

import (
	"hash/maphash"
	"sync/atomic"
)

// compacts holds the hashes of JSON that has been looked over: the managed
// fields of many objects are the same. The seed is this process's own, so that
// nobody can make other bytes of the same hash.
var (
	compacts    [512]atomic.Uint64
	compactSeed = maphash.MakeSeed()
)

// knownCompact is isCompact, which it remembers.
func knownCompact(data []byte) bool {
	hash := maphash.Bytes(compactSeed, data)
	at := &compacts[hash%uint64(len(compacts))]
	if at.Load() == hash && hash != 0 {
		return true
	}
	if !isCompact(data) {
		return false
	}
	at.Store(hash)
	return true
}

// isCompact reports whether data is one JSON object or list without space
// between its tokens and of moderate depth. It may say no to JSON that is fine;
// it never says yes to what is not JSON.
func isCompact(data []byte) bool {
	if len(data) == 0 || data[0] != '{' && data[0] != '[' {
		return false
	}
	var open uint64 // one bit a level, lowest is innermost: 1 in an object
	depth, i := 0, 0
	for {
		// A value is expected at i.
		if i >= len(data) {
			return false
		}
		switch c := data[i]; {
		case c == '{' || c == '[':
			if depth == 64 {
				return false
			}
			depth++
			open <<= 1
			if c == '{' {
				open |= 1
			}
			i++
			if i < len(data) && data[i] == c+2 {
				break
			}
			if c == '{' {
				if i = compactName(data, i); i < 0 {
					return false
				}
			}
			continue
		default:
			if i = compactScalar(data, i); i < 0 {
				return false
			}
		}
		// A value has ended before i, or an empty container is about to.
		for {
			if i >= len(data) {
				return false
			}
			c := data[i]
			i++
			if c == ',' {
				if open&1 == 1 {
					if i = compactName(data, i); i < 0 {
						return false
					}
				}
				break
			}
			if c != ']'+byte(open&1)*('}'-']') {
				return false
			}
			if depth--; depth == 0 {
				return i == len(data)
			}
			open >>= 1
		}
	}
}

// compactName checks a member's name and its colon; it returns where the value
// begins, or -1.
func compactName(data []byte, i int) int {
	if i = compactString(data, i); i < 0 || i >= len(data) || data[i] != ':' {
		return -1
	}
	return i + 1
}

// compactString checks a string of ASCII; it returns where it ends, or -1.
func compactString(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	for i++; i < len(data); i++ {
		c := data[i]
		switch {
		case plain[c]:
		case c == '"':
			return i + 1
		case c == '\\':
			// Names in managed fields quote quotes; other escapes are rare.
			if i++; i >= len(data) || data[i] != '"' && data[i] != '\\' && data[i] != '/' {
				return -1
			}
		default:
			return -1
		}
	}
	return -1
}

// compactScalar checks a string, number or literal.
func compactScalar(data []byte, i int) int {
	switch c := data[i]; {
	case c == '"':
		return compactString(data, i)
	case c == 't':
		return literal(data, i, "true")
	case c == 'f':
		return literal(data, i, "false")
	case c == 'n':
		return literal(data, i, "null")
	case c >= '1' && c <= '9':
		for i++; i < len(data) && data[i]-'0' <= 9; i++ {
		}
		return i
	case c == '0':
		return i + 1
	}
	return -1
}

func literal(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}
