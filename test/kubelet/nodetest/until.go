package nodetest

import (
	"testing"
	"time"
)

// Patience is how long Until tries; nothing is expected to take it.
const Patience = 3 * time.Minute

// Until tries until f gives no error.
func Until(t testing.TB, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(Patience); ; time.Sleep(100 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
