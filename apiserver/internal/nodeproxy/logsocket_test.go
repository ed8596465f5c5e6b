package nodeproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

func TestLogSocket(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !asksForSocket(r) {
			t.Errorf("no socket is asked for by %v", r.Header)
		}
		copyLogTo(w, r, io.NopCloser(strings.NewReader("alive\n")))
	}))
	defer s.Close()
	for _, c := range []struct {
		offered []string
		chosen  string
		want    string
	}{
		{nil, "", "alive\n"},
		{[]string{"binary.k8s.io"}, "binary.k8s.io", "alive\n"},
		{[]string{"base64url.bearer.authorization.k8s.io.dA", "base64.binary.k8s.io", "binary.k8s.io"}, "base64.binary.k8s.io", "YWxpdmUK"},
	} {
		config, err := websocket.NewConfig("ws"+strings.TrimPrefix(s.URL, "http"), "http://localhost")
		if err != nil {
			t.Fatal(err)
		}
		config.Protocol = c.offered
		ws, err := websocket.DialConfig(config)
		if err != nil {
			t.Fatalf("%v: %v", c.offered, err)
		}
		var got string
		if err := websocket.Message.Receive(ws, &got); err != nil || got != c.want {
			t.Errorf("%v: %q, %v, expected %q", c.offered, got, err, c.want)
		}
		if err := websocket.Message.Receive(ws, &got); err == nil {
			t.Errorf("%v: after the log comes %q", c.offered, got)
		}
		if have := strings.Join(ws.Config().Protocol, ","); have != c.chosen && c.chosen != "" {
			t.Errorf("%v: the protocol is %q, expected %q", c.offered, have, c.chosen)
		}
		ws.Close()
	}
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(s.URL, "http"), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{"other"}
	if ws, err := websocket.DialConfig(config); err == nil {
		ws.Close()
		t.Error("a protocol that is not known was taken")
	}
}
