package health

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
)

func TestAnswers(t *testing.T) {
	var down error
	h := &Handler{}
	h.Add(Check{Name: "ping"}, Check{Name: "etcd", ReadyOnly: true, Func: func(context.Context) error { return down }})
	for _, tt := range []struct {
		path string
		down error
		code int
		text string
	}{
		{"/readyz", nil, 200, "ok"},
		{"/readyz?verbose", nil, 200, "[+]ping ok\n[+]etcd ok\nreadyz check passed\n"},
		{"/readyz", errors.New("gone"), 500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"},
		{"/livez?verbose=1", errors.New("gone"), 200, "[+]ping ok\nlivez check passed\n"},
		{"/readyz?exclude=etcd", errors.New("gone"), 200, "ok"},
		{"/readyz/etcd", errors.New("gone"), 500, "internal server error: gone\n"},
		{"/readyz/ping", nil, 200, "ok"},
		{"/readyz/none", nil, 404, "404 page not found\n"},
	} {
		down = tt.down
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
		if w.Code != tt.code || w.Body.String() != tt.text {
			t.Errorf("%s: %d %q, want %d %q", tt.path, w.Code, w.Body, tt.code, tt.text)
		}
	}
}
