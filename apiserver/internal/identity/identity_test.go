package identity

import "testing"

func TestOf(t *testing.T) {
	// 26 characters are the 128 bits that a Lease's name has room for.
	if got, want := of("master-1"), "apiserver-"; len(got) != len(want)+26 || of("master-2") == got || of("master-1") != got {
		t.Error(got)
	}
	if got, want := HashOf("x"), "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
