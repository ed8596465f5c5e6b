package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthOfANeighbour(t *testing.T) {
	code := http.StatusOK
	neighbour := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	check := healthz(neighbour.URL + "/healthz")
	if err := check(t.Context()); err != nil {
		t.Error(err)
	}
	code = http.StatusInternalServerError
	if err := check(t.Context()); err == nil || err.Error() != "HTTP probe failed with statuscode: 500" {
		t.Error(err)
	}
	neighbour.Close()
	if err := check(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "connect: connection refused") {
		t.Error(err)
	}
}
