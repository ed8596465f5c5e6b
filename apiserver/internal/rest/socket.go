package rest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/websocket"

	"xebec.dev/apiserver/internal/encode"
)

// A watch goes over a WebSocket to who asks for one, as pages in browsers do.
// Each event is a message: of text if its form is.

func asksForSocket(r *http.Request) bool {
	words := strings.Split(strings.ToLower(strings.Join(r.Header.Values("Connection"), ",")), ",")
	return r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		slices.ContainsFunc(words, func(w string) bool { return strings.TrimSpace(w) == "upgrade" })
}

// tokenProtocol begins what is not a protocol but a browser's token.
const tokenProtocol = "base64url.bearer.authorization.k8s.io."

// overSocket calls tell with the exchange's writer being a WebSocket; what is
// written at a time is a message. cancel is called when the client goes.
func (x *exchange) overSocket(f encode.Format, cancel context.CancelFunc, tell func()) {
	s := websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			// Any will do: the form of events does not depend on it.
			c.Protocol = slices.DeleteFunc(c.Protocol, func(p string) bool { return strings.HasPrefix(p, tokenProtocol) })
			c.Protocol = c.Protocol[:min(1, len(c.Protocol))]
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			defer ws.Close()
			out := &socketWriter{ResponseWriter: x.w, ws: ws}
			if ws.PayloadType = websocket.TextFrame; f.Media == encode.Protobuf {
				ws.PayloadType, out.prefix = websocket.BinaryFrame, lengthPrefix
			}
			go func() {
				_, _ = io.Copy(io.Discard, ws) // nothing is expected; its end tells
				cancel()
			}()
			x.w = out
			tell()
		},
	}
	s.ServeHTTP(hijackable{x.w}, x.r)
}

// lengthPrefix precedes an event in protobuf. A message has a length by itself.
const lengthPrefix = 4

// socketWriter makes a message of each write, without the prefix bytes.
type socketWriter struct {
	http.ResponseWriter
	ws     *websocket.Conn
	prefix int
}

func (s *socketWriter) Write(frame []byte) (int, error) {
	skip := min(s.prefix, len(frame))
	n, err := s.ws.Write(frame[skip:])
	return skip + n, err
}

func (s *socketWriter) WriteHeader(int)                     {}
func (s *socketWriter) FlushError() error                   { return nil }
func (s *socketWriter) SetWriteDeadline(at time.Time) error { return s.ws.SetWriteDeadline(at) }

// hijackable lets a connection be taken over through whatever wraps its writer.
type hijackable struct{ http.ResponseWriter }

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}
