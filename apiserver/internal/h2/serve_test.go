package h2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// tlsServer serves h as kube-apiserver does, below net/http's server.
type tlsServer struct {
	http *http.Server
	url  string
	pool *x509.CertPool
}

func startTLS(t testing.TB, s *Server, h http.Handler) *tlsServer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}
	hs := &http.Server{Handler: h, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	s.Configure(hs)
	go func() { _ = hs.Serve(tls.NewListener(Listen(l), config)) }()
	t.Cleanup(func() { hs.Close() })
	return &tlsServer{http: hs, url: "https://" + l.Addr().String(), pool: pool}
}

// client is golang.org/x/net's.
func (s *tlsServer) client(t testing.TB) *http.Client {
	tr := &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: long}
}

func do(t testing.TB, c *http.Client, method, url string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// TestEcho sends bodies of all sizes, many at once, some larger than every window.
func TestEcho(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprint("inline=", inline), func(t *testing.T) {
			s := startTLS(t, New(Options{Inline: func(*http.Request) bool { return inline }}), echo)
			c := s.client(t)
			var g sync.WaitGroup
			for i, n := range []int{0, 1, 100, 4095, 4096, 16384, 16385, 32 << 10, 65535, 65536, 300 << 10, 3 << 20} {
				g.Go(func() {
					sent := bytes.Repeat([]byte{byte(i), byte(i >> 3), 7}, n/3+1)[:n]
					for range 3 {
						resp, got := do(t, c, "POST", s.url+"/echo", bytes.NewReader(sent))
						if !bytes.Equal(got, sent) {
							t.Errorf("%d bytes came back as %d", len(sent), len(got))
						}
						if n <= gather && resp.ContentLength != int64(n) {
							t.Errorf("content-length %d of %d bytes", resp.ContentLength, n)
						}
					}
				})
			}
			g.Wait()
		})
	}
}

// TestInlineLarge: a handler on the reader that must wait for the client's
// window gives the reading away.
func TestInlineLarge(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MB
	s := New(Options{Inline: func(*http.Request) bool { return true }})
	p := connect(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(large)
		}
	})).greet()
	p.request(1, true, "GET", "/large")
	p.alive(3) // the first one has not ended: nobody has given it room
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() {
		for i := 0; i < len(large); i += 16 << 10 {
			p.raw(http2.FrameWindowUpdate, 0, 0, window(16<<10))
			p.raw(http2.FrameWindowUpdate, 0, 1, window(16<<10))
		}
	})
	if n := readData(p, 1); n < len(large)-firstWindow {
		t.Errorf("%d bytes after the first window", n)
	}
}

func readData(p *peer, id uint32) int {
	n := 0
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamID == id {
			n += len(d.Data())
			if d.StreamEnded() {
				return n
			}
		}
	}
}

// TestFlowControl: never more than the client allows, and settings move the
// windows of open streams.
func TestFlowControl(t *testing.T) {
	p := connect(t, testServer(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 100))
	})).greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.request(1, true, "GET", "/")
	take := func(want int) {
		t.Helper()
		got := 0
		for got < want {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := f.(*http2.DataFrame); ok {
				if got += len(d.Data()); got > want {
					t.Fatalf("%d bytes, %d allowed", got, want)
				}
			}
		}
	}
	take(10)
	p.raw(http2.FrameWindowUpdate, 0, 1, window(5))
	take(5)
	p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30}))
	take(20)
	p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	p.raw(http2.FrameWindowUpdate, 0, 1, window(25)) // below zero still
	p.ok(p.framer.WritePing(false, [8]byte{9}))
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.DataFrame); ok {
			t.Fatal("data without a window")
		}
		if _, ok := f.(*http2.PingFrame); ok {
			break
		}
	}
	p.raw(http2.FrameWindowUpdate, 0, 1, window(70))
	take(65)
}

// TestHandlerFeatures is what handlers get from an http.ResponseWriter.
func TestHandlerFeatures(t *testing.T) {
	seen := make(chan error, 8)
	mux := http.NewServeMux()
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Declared, Unset")
		w.Header().Set("Before", "1")
		w.WriteHeader(200)
		w.Header().Set("Before", "2") // too late
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		w.Header().Set("Declared", "a")
		w.Header().Set(http.TrailerPrefix+"Undeclared", "b")
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("short"))
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, err := w.Write([]byte("long"))
		_, _ = w.Write([]byte("ok"))
		seen <- err
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "x")
		w.WriteHeader(103)
		w.WriteHeader(201)
	})
	mux.HandleFunc("/upload", func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil && r.Trailer.Get("Sum") != "42" {
			err = fmt.Errorf("trailer %v", r.Trailer)
		}
		seen <- err
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) })
	mux.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) {
		seen <- nil
		<-r.Context().Done()
		seen <- r.Context().Err()
	})
	mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		_, err := io.ReadAll(r.Body)
		seen <- err
	})
	s := startTLS(t, New(Options{Log: log.New(io.Discard, "", 0)}), mux)
	c := s.client(t)

	resp, _ := do(t, c, "GET", s.url+"/trailers", nil)
	if resp.Header.Get("Before") != "1" || resp.Trailer.Get("Declared") != "a" || resp.Trailer.Get("Undeclared") != "b" || resp.Header.Get("Declared") != "" {
		t.Errorf("headers %v, trailers %v", resp.Header, resp.Trailer)
	}
	if _, err := c.Get(s.url + "/panic"); !isReset(err, http2.ErrCodeInternal) {
		t.Errorf("panic: %v", err)
	}
	if resp, err := c.Get(s.url + "/short"); err == nil {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a short answer passes for a whole one")
		}
	}
	if _, b := do(t, c, "GET", s.url+"/long", nil); string(b) != "ok" || !errors.Is(<-seen, http.ErrContentLength) {
		t.Errorf("long: %q", b)
	}
	if resp, b := do(t, c, "GET", s.url+"/empty", nil); resp.StatusCode != 204 || len(b) != 0 || resp.Header.Get("Content-Length") != "" {
		t.Errorf("empty: %v %q", resp, b)
	}
	if resp, b := do(t, c, "HEAD", s.url+"/html", nil); len(b) != 0 || resp.StatusCode != 200 {
		t.Errorf("HEAD: %v %q", resp, b)
	}
	if resp, _ := do(t, c, "GET", s.url+"/html", nil); !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.Header.Get("Date") == "" {
		t.Errorf("html: %v", resp.Header)
	}
	hints := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error { hints += code; return nil }}
	r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", s.url+"/hints", nil)
	if resp, err := c.Do(r); err != nil || resp.StatusCode != 201 || hints != 103 {
		t.Errorf("hints: %v %v %d", resp, err, hints)
	}
	r, _ = http.NewRequest("POST", s.url+"/upload", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20))))
	r.Trailer = http.Header{"Sum": {"42"}}
	if _, err := c.Do(r); err != nil {
		t.Error(err)
	}
	if err := <-seen; err != nil {
		t.Errorf("upload: %v", err)
	}
	if resp, err := c.Post(s.url+"/refuse", "x/y", bytes.NewReader(make([]byte, 4<<20))); err != nil || resp.StatusCode != 413 {
		t.Errorf("refuse: %v %v", resp, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, _ = http.NewRequestWithContext(ctx, "GET", s.url+"/wait", nil)
	go func() { <-seen; cancel() }()
	if _, err := c.Do(r); err == nil {
		t.Error("a request that was canceled was answered")
	}
	if err := <-seen; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	pr, pw := io.Pipe()
	r, _ = http.NewRequest("POST", s.url+"/deadline", pr)
	if _, err := c.Do(r); err != nil {
		t.Error(err)
	}
	pw.Close()
	if err := <-seen; err == nil {
		t.Error("read past the deadline")
	}
}

func isReset(err error, code http2.ErrCode) bool {
	var se http2.StreamError
	return errors.As(err, &se) && se.Code == code
}

// TestWriteDeadline: a handler's last words don't wait longer for the client
// than it wants.
func TestWriteDeadline(t *testing.T) {
	p := connect(t, testServer(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, _ = io.WriteString(w, "last words")
	})).greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.request(1, true, "GET", "/")
	p.reset(1, http2.ErrCodeInternal)
}

// TestContinue: the client sends its body when it is asked to.
func TestContinue(t *testing.T) {
	p := connect(t, testServer(), echo).greet()
	p.request(1, false, "POST", "/", "expect", "100-continue", "content-length", "4")
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			if h.PseudoValue("status") != "100" || h.StreamEnded() {
				t.Fatal(h)
			}
			break
		}
	}
	p.raw(http2.FrameData, 1, 1, []byte("body"))
	if status, b := p.answer(1); status != "200" || string(b) != "body" {
		t.Fatal(status, string(b))
	}
}

// TestDrain: no request is lost when the server goes, and the client comes to
// another connection by itself.
func TestDrain(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 8)
	s := startTLS(t, New(Options{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
		}
		_, _ = io.WriteString(w, "done")
	}))
	c := s.client(t)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			if _, b := do(t, c, "GET", s.url+"/slow", nil); string(b) != "done" {
				t.Errorf("%q", b)
			}
		})
		<-begun
	}
	over := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		over <- s.http.Shutdown(ctx)
	}()
	select {
	case err := <-over:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	g.Wait()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
}

// TestDrainWaits: a request sent before the client can know is served.
func TestDrainWaits(t *testing.T) {
	s := testServer()
	p := connect(t, s, holding(t)).greet()
	p.alive(1)
	s.Drain()
	f, err := p.next()
	if g, ok := f.(*http2.GoAwayFrame); err != nil || !ok || g.ErrCode != http2.ErrCodeNo || g.LastStreamID != maxWindow {
		t.Fatal(f, err)
	}
	f, err = p.next()
	ping, ok := f.(*http2.PingFrame)
	if err != nil || !ok {
		t.Fatal(f, err)
	}
	p.alive(3)
	p.request(5, false, "POST", "/echo")
	p.ok(p.framer.WritePing(true, ping.Data))
	f, err = p.next()
	if g, ok := f.(*http2.GoAwayFrame); err != nil || !ok || g.LastStreamID != 5 {
		t.Fatal(f, err)
	}
	p.request(7, false, "GET", "/alive") // too late: not served, and no error
	p.raw(http2.FrameData, 1, 7, []byte("x"))
	p.raw(http2.FrameData, 1, 5, []byte("x"))
	if status, b := p.answer(5); status != "200" || string(b) != "x" {
		t.Fatal(status, b)
	}
	for err == nil {
		_, err = p.next()
	}
	if err != io.EOF {
		t.Fatalf("the connection ends with %v", err)
	}
}

// TestIdle: a connection without requests is closed, in order.
func TestIdle(t *testing.T) {
	p := connect(t, New(Options{IdleTimeout: 50 * time.Millisecond}), holding(t)).greet()
	p.goneAway(http2.ErrCodeNo)
}

// TestHTTP1 still works on the same port, and can be upgraded.
func TestHTTP1(t *testing.T) {
	s := startTLS(t, New(Options{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			echo(w, r)
			return
		}
		c, b, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, b)
	}))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool, NextProtos: []string{"http/1.1"}}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	resp, b := do(t, c, "POST", s.url, strings.NewReader("one"))
	if resp.ProtoMajor != 1 || string(b) != "one" {
		t.Fatal(resp.Proto, string(b))
	}
	r, _ := http.NewRequest("GET", s.url, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	resp, err := c.Do(r)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	defer rw.Close()
	sent := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = rw.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(rw, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatal(err)
	}
}

// TestPingFlood: a client that asks and never listens does not fill the
// server's memory, and is cut off.
func TestPingFlood(t *testing.T) {
	s := New(Options{Patience: 100 * time.Millisecond})
	ts := startTLS(t, s, echo)
	nc, err := tls.Dial("tcp", strings.TrimPrefix(ts.url, "https://"), &tls.Config{RootCAs: ts.pool, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(long))
	f := http2.NewFramer(nc, nc)
	_, _ = io.WriteString(nc, http2.ClientPreface)
	_ = f.WriteSettings()
	many := bytes.Buffer{}
	pings := http2.NewFramer(&many, nil)
	for range 1000 {
		_ = pings.WritePing(false, [8]byte{})
	}
	for {
		if _, err := nc.Write(many.Bytes()); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("the flood goes on")
			}
			return
		}
	}
}
