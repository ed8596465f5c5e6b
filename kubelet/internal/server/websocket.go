package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Channels of a socket that carries a command's streams: the first byte of
// each message says which one it is of.
const (
	stdinChannel  = 0
	stdoutChannel = 1
	stderrChannel = 2
	errorChannel  = 3
	resizeChannel = 4
	// closeChannel says that the stream named by the second byte has ended;
	// from the fifth version on.
	closeChannel = 255
)

// Protocols of sockets, those that are preferred first. Each of the older
// ones has a form for those who can send text only.
var socketProtocols = []string{
	"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io",
}

// tunnelProtocol is SPDY inside of binary messages.
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io"

const (
	// maxMessage is how large a message may be, in bytes.
	maxMessage = 1 << 20
	// chunk is how much output goes into one message, in bytes.
	chunk = 32 << 10
	// closeTime bounds the farewell.
	closeTime = 5 * time.Second
)

var errMessage = errors.New("a message of a channel has at least one byte, which names the channel")

// codec is how messages carry channels.
type codec struct {
	base64 bool
	// closes: the fifth version's end of a stream is understood.
	closes bool
	// plain: what went wrong is told as text, not as a Status.
	plain bool
}

func codecOf(protocol string) codec {
	return codec{
		base64: strings.Contains(protocol, "base64"), closes: strings.HasPrefix(protocol, "v5."),
		plain: !strings.HasPrefix(protocol, "v4.") && !strings.HasPrefix(protocol, "v5."),
	}
}

// frame is a message.
type frame struct {
	channel byte
	data    []byte
	// end: the channel has ended; data is empty.
	end bool
}

// decode reads a message.
func (c codec) decode(message []byte) (frame, error) {
	if len(message) == 0 {
		return frame{}, errMessage
	}
	if c.base64 {
		n := message[0]
		if n < '0' || n > '9' {
			return frame{}, fmt.Errorf("the channel of a text message is a digit, not %q", n)
		}
		data, err := base64.StdEncoding.AppendDecode(nil, message[1:])
		if err != nil {
			return frame{}, fmt.Errorf("a text message is base64 behind its first digit: %w", err)
		}
		return frame{channel: n - '0', data: data}, nil
	}
	if c.closes && message[0] == closeChannel {
		if len(message) != 2 {
			return frame{}, errors.New("the message that ends a channel has two bytes")
		}
		return frame{channel: message[1], end: true}, nil
	}
	return frame{channel: message[0], data: message[1:]}, nil
}

// encode makes a message.
func (c codec) encode(f frame) []byte {
	if c.base64 {
		return base64.StdEncoding.AppendEncode([]byte{'0' + f.channel}, f.data)
	}
	if f.end {
		return []byte{closeChannel, f.channel}
	}
	return append([]byte{f.channel}, f.data...)
}

func (c codec) messageType() int {
	if c.base64 {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

// socket is an open WebSocket; many may write.
type socket struct {
	*websocket.Conn
	codec codec
	mu    sync.Mutex // held while writing
}

func (s *socket) send(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.WriteMessage(s.codec.messageType(), s.codec.encode(f))
}

// channel is a channel of the socket as a writer.
type channel struct {
	s      *socket
	number byte
}

func (c channel) Write(p []byte) (int, error) {
	if err := c.s.send(frame{channel: c.number, data: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// farewell ends the socket in order.
func (s *socket) farewell(code int, text string) {
	// The other side may be gone already.
	_ = s.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(closeTime))
}

// accept answers the request for a socket. It has answered when it fails.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, protocols []string) (*socket, func(), error) {
	offered := websocket.Subprotocols(r)
	// Who names no protocol speaks the first one.
	if len(offered) > 0 && !slices.ContainsFunc(offered, func(p string) bool { return slices.Contains(protocols, p) }) {
		err := fmt.Errorf("unable to upgrade: none of the WebSocket protocols %q is supported, use one of %q", offered, protocols)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil, err
	}
	up := websocket.Upgrader{Subprotocols: preferred(protocols, offered), HandshakeTimeout: dialTime, ReadBufferSize: chunk, WriteBufferSize: chunk}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil, nil, err
	}
	conn.SetReadLimit(maxMessage)
	raw := conn.NetConn()
	if !s.track(raw) {
		conn.Close()
		return nil, nil, errors.New("the kubelet is going down")
	}
	return &socket{Conn: conn, codec: codecOf(conn.Subprotocol())}, func() {
		s.untrack(raw)
		conn.Close()
	}, nil
}

// preferred puts our order above the caller's.
func preferred(ours, offered []string) []string {
	var out []string
	for _, p := range ours {
		if slices.Contains(offered, p) {
			out = append(out, p)
		}
	}
	return out
}

// tunnel carries SPDY, which the runtime speaks, in a socket's messages.
func (s *Server) tunnel(w http.ResponseWriter, r *http.Request, target string) {
	if !slices.Contains(websocket.Subprotocols(r), tunnelProtocol) {
		http.Error(w, fmt.Sprintf("unable to upgrade: port-forward over WebSocket needs the protocol %q", tunnelProtocol), http.StatusBadRequest)
		return
	}
	out, err := dialRuntime(r.Context(), target, []string{"portforward.k8s.io"})
	if err != nil {
		fail(w, err)
		return
	}
	defer out.Close()
	in, release, err := s.accept(w, r, []string{tunnelProtocol})
	if err != nil {
		return
	}
	defer release()
	join(&messages{s: in, idle: or(s.o.IdleTimeout, defaultIdle)}, out)
	in.farewell(websocket.CloseNormalClosure, "")
}

// messages is a socket as a stream of bytes.
type messages struct {
	s    *socket
	idle time.Duration
	in   io.Reader
}

func (m *messages) Read(p []byte) (int, error) {
	for {
		if m.in == nil {
			if err := m.s.SetReadDeadline(time.Now().Add(m.idle)); err != nil {
				return 0, err
			}
			kind, in, err := m.s.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, fmt.Errorf("the protocol %s has binary messages only", tunnelProtocol)
			}
			m.in = in
		}
		n, err := m.in.Read(p)
		if errors.Is(err, io.EOF) {
			m.in, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (m *messages) Write(p []byte) (int, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if err := m.s.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close lets the other side know first; join has ended with it by then.
func (m *messages) Close() error {
	m.s.farewell(websocket.CloseNormalClosure, "")
	return m.s.Conn.Close()
}
