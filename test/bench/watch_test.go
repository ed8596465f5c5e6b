package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
)

// inPieces hands b over in pieces of every size from 1 to all of it.
func inPieces(b []byte, each func(size int, pieces [][]byte)) {
	for size := 1; size <= len(b); size++ {
		var pieces [][]byte
		for rest := b; len(rest) > 0; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		each(size, pieces)
	}
}

func TestEventsAreCountedAcrossReads(t *testing.T) {
	var b []byte
	for _, size := range []int{1, 5, 300} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(size)), make([]byte, size)...)
	}
	inPieces(b, func(size int, pieces [][]byte) {
		f, n := prefixed{}, 0
		for _, p := range pieces {
			n += f.take(p)
		}
		if n != 3 {
			t.Errorf("%d events in pieces of %d, want 3", n, size)
		}
	})
}

func TestOrderIsFoundAcrossReads(t *testing.T) {
	b := fmt.Appendf(nil, "..%s000000007..%s000000002.%s000000007%s000000041", heldName, heldName, heldName, heldName)
	inPieces(b, func(size int, pieces [][]byte) {
		var order []int
		var n names
		for _, p := range pieces {
			order = n.take(order, p)
		}
		if want := []int{7, 2, 41}; !reflect.DeepEqual(order, want) {
			t.Errorf("%v in pieces of %d, want %v", order, size, want)
		}
	})
}

func TestMessagesAreWholeAcrossReads(t *testing.T) {
	b := append(append(message([]byte("one")), message(nil)...), message([]byte("three"))...)
	inPieces(b, func(size int, pieces [][]byte) {
		var got []string
		m := messages{each: func(b []byte) { got = append(got, string(b)) }}
		for _, p := range pieces {
			m.take(p)
		}
		if want := []string{"one", "", "three"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q in pieces of %d, want %q", got, size, want)
		}
	})
}

func TestTemplateOfAStoredPod(t *testing.T) {
	stored := storedPod()
	again := templateOf(stored.pod('c', 12), 'c', 12)
	if !bytes.Equal(again.pod('r', 3), stored.pod('r', 3)) {
		t.Error("a template of a pod makes other pods than the one it was made with")
	}
}
