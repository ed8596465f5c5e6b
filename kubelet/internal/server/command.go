package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/moby/spdystream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// commandProtocol is what we and the runtime speak about a command.
	commandProtocol = "v4.channel.k8s.io"
	// openTime bounds the opening of one stream.
	openTime = 10 * time.Second
	// maxStatus is how long the report on a command's end may be, in bytes.
	maxStatus = 64 << 10
	// pingEvery keeps the socket's way open through what lies between.
	pingEvery = 30 * time.Second
)

// commandSocket carries a command's streams between a caller who speaks
// WebSocket and the runtime, which speaks SPDY only.
func (s *Server) commandSocket(w http.ResponseWriter, r *http.Request, target string, streams wants) {
	conn, err := dialRuntime(r.Context(), target, []string{commandProtocol})
	if err != nil {
		fail(w, err)
		return
	}
	defer conn.Close()
	in, release, err := s.accept(w, r, socketProtocols)
	if err != nil {
		return
	}
	defer release()
	c := command{socket: in, idle: or(s.o.IdleTimeout, defaultIdle)}
	if err := c.open(conn, streams); err != nil {
		in.farewell(websocket.CloseInternalServerErr, "the container runtime did not open the streams")
		return
	}
	defer c.spdy.Close()
	c.carry()
}

// command is a command whose streams are being carried.
type command struct {
	*socket
	idle time.Duration
	spdy *spdystream.Connection
	// Streams that were not asked for are nil.
	stdin, stdout, stderr, resize, status *spdystream.Stream
}

// open opens the streams, in the order that the runtime expects.
func (c *command) open(conn *runtimeConn, w wants) error {
	spdy, err := spdystream.NewConnection(conn, false)
	if err != nil {
		return err
	}
	c.spdy = spdy
	go spdy.Serve(spdystream.NoOpStreamHandler)
	for _, x := range []struct {
		on   bool
		kind string
		into **spdystream.Stream
	}{
		{true, "error", &c.status}, {w.stdin, "stdin", &c.stdin}, {w.stdout, "stdout", &c.stdout},
		{w.stderr, "stderr", &c.stderr}, {w.tty, "resize", &c.resize},
	} {
		if !x.on {
			continue
		}
		stream, err := spdy.CreateStream(http.Header{"Streamtype": {x.kind}}, nil, false)
		if err == nil {
			err = stream.WaitTimeout(openTime)
		}
		if err != nil {
			return errors.Join(err, spdy.Close())
		}
		*x.into = stream
	}
	return nil
}

// carry carries until the command has ended and all it said has been sent, or
// until the caller goes.
func (c *command) carry() {
	var output sync.WaitGroup
	for number, stream := range map[byte]*spdystream.Stream{stdoutChannel: c.stdout, stderrChannel: c.stderr} {
		if stream != nil {
			output.Go(func() { _, _ = io.CopyBuffer(channel{c.socket, number}, onlyReader{stream}, make([]byte, chunk)) })
		}
	}
	status := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(onlyReader{c.status}, maxStatus)) // what came is told
		output.Wait()
		status <- text
	}()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.receive()
	}()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ping.C:
			if c.WriteControl(websocket.PingMessage, nil, time.Now().Add(closeTime)) != nil {
				return
			}
		case <-gone:
			// The command loses its streams with its caller; output that
			// nobody takes must not hold anything back.
			c.Conn.Close()
			c.spdy.Close()
			<-status
			return
		case text := <-status:
			c.finish(text)
			select {
			case <-gone: // the other side's farewell
			case <-time.After(closeTime):
			}
			return
		}
	}
}

// onlyReader hides that a stream could be copied otherwise.
type onlyReader struct{ r io.Reader }

func (r onlyReader) Read(p []byte) (int, error) { return r.r.Read(p) }

// finish tells how the command ended.
func (c *command) finish(text []byte) {
	if len(text) == 0 {
		text = []byte(`{"metadata":{},"status":"Success"}`)
	}
	if c.codec.plain {
		var st metav1.Status
		if json.Unmarshal(text, &st) != nil || st.Status == metav1.StatusSuccess {
			text = nil
		} else {
			text = []byte(st.Message)
		}
	}
	if text != nil && c.send(frame{channel: errorChannel, data: text}) != nil {
		return
	}
	c.farewell(websocket.CloseNormalClosure, "")
}

// receive passes on what the caller sends, until it ends.
func (c *command) receive() {
	for {
		if c.SetReadDeadline(time.Now().Add(c.idle)) != nil {
			return
		}
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if kind != c.codec.messageType() {
			c.farewell(websocket.CloseUnsupportedData, "this protocol has messages of the other type")
			return
		}
		f, err := c.codec.decode(message)
		if err != nil {
			c.farewell(websocket.CloseProtocolError, err.Error())
			return
		}
		if err := c.pass(f); err != nil {
			if f.channel != stdinChannel {
				return
			}
			// The command reads no more; what it says is still to come.
			c.stdin = nil
		}
	}
}

func (c *command) pass(f frame) error {
	to := map[byte]*spdystream.Stream{stdinChannel: c.stdin, resizeChannel: c.resize}[f.channel]
	if to == nil {
		return nil // a stream that was not asked for
	}
	if f.end {
		return to.Close()
	}
	if len(f.data) == 0 {
		return nil
	}
	_, err := to.Write(f.data)
	if err != nil {
		return errors.New("write to channel " + strconv.Itoa(int(f.channel)) + ": " + err.Error())
	}
	return nil
}
