package state

import (
	"slices"
	"testing"

	"xebec.dev/client/cache"
)

// TestSlicesOf: names are in order, each once; who has a list keeps it as it
// was.
func TestSlicesOf(t *testing.T) {
	web, other := cache.Key{Namespace: "x", Name: "web"}, cache.Key{Namespace: "x", Name: "other"}
	s := slicesOf{names: map[cache.Key][]string{}}
	for _, name := range []string{"c", "a", "c", "b"} {
		s.add(web, name)
	}
	s.add(other, "d")
	was := s.names[web]
	if want := []string{"a", "b", "c"}; !slices.Equal(was, want) {
		t.Fatalf("%v, want %v", was, want)
	}
	s.remove(web, "b")
	s.add(web, "aa")
	s.remove(web, "nothing")
	if want := []string{"a", "aa", "c"}; !slices.Equal(s.names[web], want) {
		t.Errorf("%v, want %v", s.names[web], want)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(was, want) {
		t.Errorf("a list that was given is %v, and was %v", was, want)
	}
	for _, name := range []string{"a", "aa", "c"} {
		s.remove(web, name)
	}
	if _, left := s.names[web]; left || len(s.names) != 1 {
		t.Errorf("left are %v", s.names)
	}
}
