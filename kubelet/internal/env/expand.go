package env

import "strings"

// Expand replaces $(NAME) by lookup's value. $$ stands for one $; a reference
// that lookup does not know, or that has no end, stays as it is.
func Expand(text string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			i++
			continue
		}
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			i += 2
		case '(':
			i += reference(&b, text[i:], lookup)
		default:
			b.WriteString(text[i : i+2])
			i += 2
		}
	}
	return b.String()
}

// reference writes what stands for the $(… that s begins with, and says how
// long it is.
func reference(b *strings.Builder, s string, lookup func(string) (string, bool)) int {
	end := strings.IndexByte(s, ')')
	if end < 0 {
		b.WriteString("$(")
		return 2
	}
	if v, ok := lookup(s[2:end]); ok {
		b.WriteString(v)
	} else {
		b.WriteString(s[:end+1])
	}
	return end + 1
}

// Lookup finds variables for Expand.
func Lookup(vars []Variable) func(name string) (string, bool) {
	m := make(map[string]string, len(vars))
	for _, v := range vars {
		m[v.Name] = v.Value
	}
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// Command is a container's command or arguments with references replaced.
func Command(words []string, vars []Variable) []string {
	if len(words) == 0 {
		return nil
	}
	lookup := Lookup(vars)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Expand(w, lookup)
	}
	return out
}
