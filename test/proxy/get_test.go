package proxy

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// get is what a server says, on a connection of its own; without t, also when
// it says nothing.
func get(t *testing.T, url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		defer resp.Body.Close()
		var raw []byte
		if raw, err = io.ReadAll(resp.Body); err == nil {
			return string(raw)
		}
	}
	if t != nil {
		t.Error(err)
	}
	return err.Error()
}
