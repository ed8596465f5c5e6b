package h2

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FuzzConnection feeds a connection bytes after its preface. Whatever they
// are, it ends when they end, and so do its handlers.
func FuzzConnection(f *testing.F) {
	var b bytes.Buffer
	framer := http2.NewFramer(&b, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/x"}, {"content-length", "4"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, true, []byte("body"))
	_ = framer.WriteWindowUpdate(1, 10)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block.Bytes()[:4], EndStream: true})
	_ = framer.WriteContinuation(3, true, block.Bytes()[4:])
	_ = framer.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = framer.WritePing(false, [8]byte{})
	_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	f.Add(b.Bytes())
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		handlers := &counted{release: make(chan struct{})}
		close(handlers.release)
		s := New(Options{MaxStreams: 4, StreamWindow: 64, MaxHeaderBytes: 4096, Patience: time.Second})
		server, client := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(context.Background(), server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				echo(w, r)
				handlers.ServeHTTP(w, r)
			}))
		}()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, _ = io.WriteString(client, http2.ClientPreface)
		_, _ = client.Write(in)
		client.Close()
		select {
		case <-done:
		case <-time.After(long):
			t.Fatal("the connection does not end")
		}
		for end := time.Now().Add(long); handlers.now.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a handler outlives its connection")
			}
		}
	})
}
