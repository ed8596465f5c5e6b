package lifecycle

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
)

// TestRetryAfter: a server that leaves answers what it has and refuses what
// comes, so that a client tries elsewhere.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t, "--shutdown-send-retry-after")
	client := s.Client(t)
	reader, writer := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		resp, err := client.Post(s.URL+maps, "application/json", reader)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("answered %s", resp.Status)
			}
		}
		slow <- err
	}()
	body, err := io.ReadAll(configMap("slow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(body[:10]); err != nil {
		t.Fatal(err)
	}
	// It is being served, not on its way.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, text := get(t, client, s.URL+"/metrics"); strings.Contains(string(text), `apiserver_current_inflight_requests{request_kind="mutating"} 1`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the write was never begun")
		}
	}
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	other := s.Client(t)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := other.Get(s.URL + maps)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body) // the status tells enough
		resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			if resp.Header.Get("Retry-After") != "5" || !strings.HasPrefix(string(text), "The apiserver is shutting down, please try again later.") {
				t.Errorf("%v %s", resp.Header, text)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", resp.Status)
		}
	}
	if code, _ := get(t, other, s.URL+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	if _, err := writer.Write(body[10:]); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if err := <-slow; err != nil {
		t.Errorf("what was begun: %v", err)
	}
	s.Stop(t)
}
