package batch

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestCountIndexes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int32
		err  string
	}{
		{"", 0, ""},
		{"0", 1, ""},
		{"0,2-4,9", 5, ""},
		{"0-9", 10, ""},
		{"2,1", 0, "non-increasing order, previous: 2, current: 1"},
		{"1,1", 0, "non-increasing order, previous: 1, current: 1"},
		{"1-3,3", 0, "non-increasing order, previous: 3, current: 3"},
		{"10", 0, `too large index: "10"`},
		{"1-", 0, `cannot convert string to integer for index: ""`},
		{"1--2", 0, `the fragment "1--2" violates the requirement that an index interval can have at most two parts separated by '-'`},
		{"99999999999999999999", 0, `cannot convert string to integer for index: "99999999999999999999"`},
	} {
		n, err := countIndexes(c.text, 10)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if n != c.want || got != c.err {
			t.Errorf("%q: %d %q, want %d %q", c.text, n, got, c.want, c.err)
		}
	}
}

func TestCommonIndex(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int32
		ok   bool
	}{
		{"0-3,7", "4-6,8", 0, false},
		{"0-3,7", "5-9", 7, true},
		{"0-3", "2", 2, true},
		{"", "1", 0, false},
		{"x", "1", 0, false},
	} {
		if got, ok := commonIndex(c.a, c.b, 10); got != c.want || ok != c.ok {
			t.Errorf("%q and %q: %d %v, want %d %v", c.a, c.b, got, ok, c.want, c.ok)
		}
	}
}

// FuzzIndexes compares with a parser that lists every index.
func FuzzIndexes(f *testing.F) {
	for _, s := range []string{"", "0", "1,3-5,7", "5-1", "1,,2", "-1", "0-1-2", "3,2", "07", "+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, wantErr := list(text, 20)
		got, err := countIndexes(text, 20)
		if (err != nil) != (wantErr != nil) || err == nil && int(got) != len(want) {
			t.Errorf("%q: %d %v, want %v %v", text, got, err, want, wantErr)
		}
	})
}

func list(text string, completions int) ([]int, error) {
	var all []int
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		ends := strings.Split(part, "-")
		if len(ends) > 2 {
			return nil, fmt.Errorf("parts")
		}
		var n []int
		for _, e := range ends {
			i, err := strconv.Atoi(e)
			if err != nil || i >= completions {
				return nil, fmt.Errorf("index %s", e)
			}
			n = append(n, i)
		}
		if len(n) == 2 && n[0] >= n[1] {
			return nil, fmt.Errorf("order")
		}
		for i := n[0]; i <= n[len(n)-1]; i++ {
			if len(all) > 0 && all[len(all)-1] >= i {
				return nil, fmt.Errorf("order")
			}
			all = append(all, i)
		}
	}
	return all, nil
}
