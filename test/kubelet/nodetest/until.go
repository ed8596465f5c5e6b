package nodetest

import (
	"testing"
	"time"
)

// patience is how long Until tries; nothing is expected to take it.
const patience = 3 * time.Minute

// Until tries until f gives no error.
func Until(t testing.TB, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
