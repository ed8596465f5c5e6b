package nodeproxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/websocket"
)

// logSockets are the subprotocols by which a log comes over a WebSocket; true
// is for text, of base64, which is all that some clients can take.
var logSockets = map[string]bool{"": false, "binary.k8s.io": false, "base64.binary.k8s.io": true}

func asksForSocket(r *http.Request) bool {
	words := strings.Split(strings.ToLower(strings.Join(r.Header.Values("Connection"), ",")), ",")
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		slices.ContainsFunc(words, func(w string) bool { return strings.TrimSpace(w) == "upgrade" })
}

// hijackable lets a connection be taken over through whatever wraps its writer.
type hijackable struct{ http.ResponseWriter }

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// copyLogTo sends what a kubelet says in frames, a read each, and ends with the
// log or when the client goes.
func copyLogTo(w http.ResponseWriter, r *http.Request, body io.ReadCloser) {
	protocol := ""
	s := websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			// A browser's token may be among them: it is no protocol of ours.
			for _, p := range c.Protocol {
				if _, known := logSockets[p]; known {
					protocol, c.Protocol = p, []string{p}
					return nil
				}
			}
			if len(c.Protocol) > 0 {
				return errors.New("requested protocol(s) are not supported: " + strings.Join(c.Protocol, ",") + "; supports binary.k8s.io, base64.binary.k8s.io")
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			defer ws.Close()
			text := logSockets[protocol]
			ws.PayloadType = websocket.BinaryFrame
			if text {
				ws.PayloadType = websocket.TextFrame
			}
			go func() {
				_, _ = io.Copy(io.Discard, ws) // nothing is expected; its end tells
				body.Close()                   // a log that is followed may say nothing for long
			}()
			frames(ws, body, text)
		},
	}
	s.ServeHTTP(hijackable{w}, r)
}

func frames(to io.Writer, body io.Reader, text bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			frame := buf[:n]
			if text {
				frame = base64.StdEncoding.AppendEncode(nil, frame)
			}
			if _, err := to.Write(frame); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
