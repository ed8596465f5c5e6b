package codec

import "errors"

// Field finds a bytes field of a protobuf message: with its tag and length,
// and its content. It is an error when the field is there more than once, in
// which case its content is not in one piece. Both are nil when it is absent.
func Field(msg []byte, field int) (whole, content []byte, err error) {
	r := reader{msg}
	for r.more() {
		before := r.b
		num, wire, err := r.tag()
		if err != nil {
			return nil, nil, err
		}
		if num != field || wire != wireBytes {
			if err := r.skip(wire); err != nil {
				return nil, nil, err
			}
			continue
		}
		if whole != nil {
			return nil, nil, errors.New("field in several pieces")
		}
		if content, err = r.bytes(); err != nil {
			return nil, nil, err
		}
		whole = before[:len(before)-len(r.b)]
	}
	return whole, content, nil
}

// Members walks the members of a JSON object without spaces, at its first
// level: f gets each name with its quotes and where the value is in data. It
// is false when f is, and when data is something else; values are only looked
// over for brackets and quotes.
func Members(data []byte, f func(name []byte, start, end int) bool) bool {
	if len(data) < 2 || data[0] != '{' {
		return false
	}
	if data[1] == '}' {
		return len(data) == 2
	}
	for i := 1; ; i++ {
		name := i
		if i = skipString(data, i); i < 0 || i >= len(data) || data[i] != ':' {
			return false
		}
		start := i + 1
		end := skipValue(data, start)
		if end <= start || end >= len(data) || !f(data[name:i], start, end) {
			return false
		}
		if i = end; data[i] == '}' {
			return i == len(data)-1
		}
		if data[i] != ',' {
			return false
		}
	}
}

// skipString is where the string at i ends, or -1.
func skipString(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skipValue is where the value at i ends, or -1.
func skipValue(data []byte, i int) int {
	for depth := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			if i = skipString(data, i) - 1; i < 0 {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth == 0 {
				return i
			}
		case ' ', '\t', '\n', '\r':
			return -1
		}
		if depth == 0 && (data[i] == '"' || data[i] == '}' || data[i] == ']') {
			return i + 1
		}
	}
	return -1
}
