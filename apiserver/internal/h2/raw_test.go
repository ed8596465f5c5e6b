package h2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// long bounds what a test waits for; nothing is expected to take it.
const long = 30 * time.Second

// peer is a client that sends what it is told to, right or wrong.
type peer struct {
	t       testing.TB
	net     net.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
}

// serveTCP serves h on a loopback listener of the test's.
func serveTCP(t testing.TB, s *Server, h http.Handler) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.ServeConn(context.Background(), c, h)
		}
	}()
	return l
}

// connect opens a connection and says nothing yet.
func connect(t testing.TB, s *Server, h http.Handler) *peer {
	nc, err := net.Dial("tcp", serveTCP(t, s, h).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(long))
	p := &peer{t: t, net: nc, framer: http2.NewFramer(nc, nc)}
	p.framer.AllowIllegalWrites = true
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.encoder = hpack.NewEncoder(&p.block)
	return p
}

// greet is the preface; the server's settings are left to be read.
func (p *peer) greet(settings ...http2.Setting) *peer {
	p.write([]byte(http2.ClientPreface))
	p.ok(p.framer.WriteSettings(settings...))
	return p
}

func (p *peer) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_, err := p.net.Write(b)
	p.ok(err)
}

// raw writes a frame as it is.
func (p *peer) raw(t http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	p.t.Helper()
	p.ok(p.framer.WriteRawFrame(t, flags, stream, payload))
}

// fields encodes pairs of name and value.
func (p *peer) fields(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.ok(p.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return p.block.Bytes()
}

// request opens a stream.
func (p *peer) request(id uint32, end bool, method, path string, extra ...string) {
	p.t.Helper()
	b := p.fields(append([]string{":method", method, ":scheme", "https", ":authority", "test", ":path", path}, extra...)...)
	p.ok(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true, EndStream: end}))
}

// next is the next frame but settings, pings of a drain and windows.
func (p *peer) next() (http2.Frame, error) {
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = p.framer.WriteSettingsAck()
			}
			continue
		case *http2.WindowUpdateFrame:
			continue
		}
		return f, nil
	}
}

// reset wants a stream to be reset.
func (p *peer) reset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("no RST_STREAM: %v", err)
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok {
			if r.StreamID != id || r.ErrCode != code {
				p.t.Fatalf("RST_STREAM of %d: %v, not of %d: %v", r.StreamID, r.ErrCode, id, code)
			}
			return
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			p.t.Fatalf("GOAWAY %v, not RST_STREAM", g.ErrCode)
		}
	}
}

// goneAway wants the connection to be ended with a code.
func (p *peer) goneAway(code http2.ErrCode) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("no GOAWAY: %v", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != code {
				p.t.Fatalf("GOAWAY %v, not %v", g.ErrCode, code)
			}
			break
		}
	}
	for {
		if _, err := p.framer.ReadFrame(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.t.Fatal("the connection stays open after GOAWAY")
			}
			return
		}
	}
}

// answer reads a stream to its end.
func (p *peer) answer(id uint32) (status string, body []byte) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("stream %d: %v", id, err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			if v := f.PseudoValue("status"); v != "" {
				status = v
			}
			if f.StreamEnded() {
				return status, body
			}
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			body = append(body, f.Data()...)
			if f.StreamEnded() {
				return status, body
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				p.t.Fatalf("stream %d was reset: %v", id, f.ErrCode)
			}
		case *http2.GoAwayFrame:
			p.t.Fatalf("GOAWAY %v %s", f.ErrCode, f.DebugData())
		}
	}
}

// alive wants the connection to serve on.
func (p *peer) alive(id uint32) {
	p.t.Helper()
	p.request(id, true, "GET", "/alive")
	if status, _ := p.answer(id); status != "200" {
		p.t.Fatalf("status %s", status)
	}
}

// echo answers with the body.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(b)
})

func window(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func testServer() *Server { return New(Options{MaxStreams: 10, MaxHeaderBytes: 16 << 10}) }
