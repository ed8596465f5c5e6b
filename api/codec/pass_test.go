package codec_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/codec"
)

func TestDates(t *testing.T) {
	check := func(seconds int64) {
		t.Helper()
		want, err := json.Marshal(metav1.Unix(seconds, 0))
		if got := codec.Date(seconds); err != nil || got != string(want) {
			t.Errorf("%d: %s, want %s (%v)", seconds, got, want, err)
		}
	}
	// Ends of years and of Februaries, of leap years and others, and of what
	// five bytes and the short way hold.
	for year := 1969; year <= 2405; year++ {
		for _, at := range []time.Time{time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)} {
			check(at.Unix() - 1)
			check(at.Unix())
		}
	}
	for _, seconds := range []int64{0, -1, 1<<28 - 1, 1 << 28, 1<<35 - 1, 1 << 35, 1<<37 - 1, 1 << 37, 253402300799, -62135596799} {
		check(seconds)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		check(r.Int64N(1 << 37))
	}
}

func TestQuoteAnyLength(t *testing.T) {
	specials := []string{`"`, `\`, "<", ">", "&", "\n", "\x00", "\x1f", "\x7f", "é", "\u2028", "\xff", "!", "'", ";", "=", "?", "$", "]"}
	for size := range 52 {
		for _, special := range specials {
			for at := 0; at <= size-len(special); at++ {
				s := append(bytes.Repeat([]byte{'a'}, at), special...)
				s = append(s, bytes.Repeat([]byte{'z'}, size-len(s))...)
				want, err := json.Marshal(string(s))
				if err != nil {
					t.Fatal(err)
				}
				// Nothing around a string may show, special or not.
				for _, around := range []string{"", "b", "\"<\n\"<\n\"<\n\"<\n\"<\n\"<\n"} {
					src := []byte(around + string(s) + around)
					if got := codec.Quote("x", src, len(around), size); got != "x"+string(want) {
						t.Fatalf("%q within %q: %s, want %s", s, src, got, want)
					}
				}
			}
		}
	}
}
