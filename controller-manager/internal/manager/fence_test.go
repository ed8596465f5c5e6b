package manager

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestFence: writes pass while the lease is held for sure, and no longer.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fence{on: true}
		if f.check() == nil {
			t.Error("open before the lease was taken")
		}
		f.renewed(time.Now(), 10*time.Second)
		time.Sleep(9 * time.Second)
		if err := f.check(); err != nil {
			t.Errorf("closed within the lease: %v", err)
		}
		time.Sleep(2 * time.Second)
		if f.check() == nil {
			t.Error("open after the lease")
		}
		if err := (&fence{}).check(); err != nil {
			t.Errorf("closed without an election: %v", err)
		}
	})
	for method, want := range map[string]bool{"/x.Objects/Get": false, "/x.Objects/List": false, "/x.Objects/Watch": false, "/x.Objects/Mutate": true, "/x.Objects/Create": true, "/x.Objects/DeleteCollection": true} {
		if writes(method) != want {
			t.Errorf("%s writes: %t", method, !want)
		}
	}
}
