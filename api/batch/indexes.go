package batch

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// interval is a run of completion indexes, both ends included.
type interval struct{ first, last int32 }

// intervals parses "1,3-5,7". It ends at the first error: each index has to
// be above the one before it and below the number of completions.
func intervals(text string, completions int32) iter.Seq2[interval, error] {
	return func(yield func(interval, error) bool) {
		if text == "" {
			return
		}
		last, started := int32(0), false
		for part := range strings.SplitSeq(text, ",") {
			iv, err := parseInterval(part, completions)
			if err == nil && started && last >= iv.first {
				err = orderError(last, iv.first)
			}
			if err == nil && strings.Contains(part, "-") && iv.first >= iv.last {
				err = orderError(iv.first, iv.last)
			}
			if !yield(iv, err) || err != nil {
				return
			}
			last, started = iv.last, true
		}
	}
}

func orderError(previous, current int32) error {
	return fmt.Errorf("non-increasing order, previous: %d, current: %d", previous, current)
}

func parseInterval(part string, completions int32) (interval, error) {
	first, last, ranged := strings.Cut(part, "-")
	if strings.Contains(last, "-") {
		return interval{}, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", part)
	}
	a, err := parseIndex(first, completions)
	if err != nil || !ranged {
		return interval{a, a}, err
	}
	b, err := parseIndex(last, completions)
	return interval{a, b}, err
}

func parseIndex(text string, completions int32) (int32, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("cannot convert string to integer for index: %q", text)
	}
	if n >= int(completions) {
		return 0, fmt.Errorf("too large index: %q", text)
	}
	return int32(n), nil
}

// countIndexes gives how many indexes the text names.
func countIndexes(text string, completions int32) (int32, error) {
	n := int32(0)
	for iv, err := range intervals(text, completions) {
		if err != nil {
			return 0, err
		}
		n += iv.last - iv.first + 1
	}
	return n, nil
}

// commonIndex finds an index that both texts name.
func commonIndex(a, b string, completions int32) (int32, bool) {
	var ivs []interval
	for iv, err := range intervals(a, completions) {
		if err != nil {
			return 0, false
		}
		ivs = append(ivs, iv)
	}
	i := 0
	for iv, err := range intervals(b, completions) {
		if err != nil {
			return 0, false
		}
		for i < len(ivs) && ivs[i].last < iv.first {
			i++
		}
		if i < len(ivs) && ivs[i].first <= iv.last {
			return max(ivs[i].first, iv.first), true
		}
	}
	return 0, false
}
