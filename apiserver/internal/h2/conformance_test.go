package h2

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestConnectionErrors: what breaks the protocol for all streams ends the
// connection, with the code that RFC 9113 names.
func TestConnectionErrors(t *testing.T) {
	get := func(p *peer) []byte {
		return append([]byte(nil), p.fields(":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")...)
	}
	for name, c := range map[string]struct {
		code http2.ErrCode
		send func(p *peer)
	}{
		"DATA on an idle stream":             {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameData, 0, 5, []byte("x")) }},
		"DATA on stream 0":                   {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameData, 0, 0, []byte("x")) }},
		"HEADERS on stream 0":                {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameHeaders, 5, 0, get(p)) }},
		"HEADERS on an even stream":          {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameHeaders, 5, 2, get(p)) }},
		"HEADERS of a stream that was":       {http2.ErrCodeStreamClosed, func(p *peer) { p.alive(3); p.raw(http2.FrameHeaders, 5, 1, get(p)) }},
		"HEADERS again":                      {http2.ErrCodeStreamClosed, func(p *peer) { p.alive(3); p.raw(http2.FrameHeaders, 5, 3, get(p)) }},
		"HEADERS with too much padding":      {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameHeaders, 0x8|5, 1, []byte{200, 1, 2}) }},
		"DATA with too much padding":         {http2.ErrCodeProtocol, func(p *peer) { p.request(1, false, "POST", "/"); p.raw(http2.FrameData, 0x8, 1, []byte{6, 1, 2}) }},
		"HEADERS within HEADERS":             {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameHeaders, 1, 1, get(p)); p.raw(http2.FrameHeaders, 5, 3, get(p)) }},
		"CONTINUATION without HEADERS":       {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameContinuation, 4, 1, get(p)) }},
		"CONTINUATION of another stream":     {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameHeaders, 1, 1, get(p)); p.raw(http2.FrameContinuation, 4, 3, nil) }},
		"a header block that is none":        {http2.ErrCodeCompression, func(p *peer) { p.raw(http2.FrameHeaders, 5, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff}) }},
		"RST_STREAM of an idle stream":       {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameRSTStream, 0, 1, window(8)) }},
		"RST_STREAM of stream 0":             {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameRSTStream, 0, 0, window(8)) }},
		"RST_STREAM of 3 bytes":              {http2.ErrCodeFrameSize, func(p *peer) { p.raw(http2.FrameRSTStream, 0, 1, []byte{0, 0, 8}) }},
		"WINDOW_UPDATE of an idle stream":    {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameWindowUpdate, 0, 1, window(1)) }},
		"WINDOW_UPDATE of 0":                 {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameWindowUpdate, 0, 0, window(0)) }},
		"WINDOW_UPDATE of 3 bytes":           {http2.ErrCodeFrameSize, func(p *peer) { p.raw(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 1}) }},
		"a window that overflows":            {http2.ErrCodeFlowControl, func(p *peer) { p.raw(http2.FrameWindowUpdate, 0, 0, window(maxWindow)) }},
		"PING of 7 bytes":                    {http2.ErrCodeFrameSize, func(p *peer) { p.raw(http2.FramePing, 0, 0, make([]byte, 7)) }},
		"PING on a stream":                   {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FramePing, 0, 1, make([]byte, 8)) }},
		"SETTINGS on a stream":               {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameSettings, 0, 1, nil) }},
		"SETTINGS of 5 bytes":                {http2.ErrCodeFrameSize, func(p *peer) { p.raw(http2.FrameSettings, 0, 0, make([]byte, 5)) }},
		"SETTINGS acknowledged with content": {http2.ErrCodeFrameSize, func(p *peer) { p.raw(http2.FrameSettings, 1, 0, make([]byte, 6)) }},
		"SETTINGS acknowledged twice":        {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FrameSettings, 1, 0, nil); p.raw(http2.FrameSettings, 1, 0, nil) }},
		"a push that is 2":                   {http2.ErrCodeProtocol, func(p *peer) { p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2})) }},
		"an initial window of 2^31": {http2.ErrCodeFlowControl, func(p *peer) {
			p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		}},
		"an initial window that overflows a stream's": {http2.ErrCodeFlowControl, func(p *peer) {
			p.request(1, false, "POST", "/")
			p.raw(http2.FrameWindowUpdate, 0, 1, window(1000))
			p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow}))
		}},
		"frames of 100 bytes at most": {http2.ErrCodeProtocol, func(p *peer) {
			p.ok(p.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100}))
		}},
		"101 settings": {http2.ErrCodeProtocol, func(p *peer) {
			all := make([]http2.Setting, 101)
			for i := range all {
				all[i].ID = http2.SettingID(100 + i)
			}
			p.ok(p.framer.WriteSettings(all...))
		}},
		"PUSH_PROMISE": {http2.ErrCodeProtocol, func(p *peer) {
			p.request(1, false, "POST", "/")
			p.raw(http2.FramePushPromise, 4, 1, append(window(2), get(p)...))
		}},
		"a frame too large": {http2.ErrCodeFrameSize, func(p *peer) { p.write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}) }},
		"more than the connection's window": {http2.ErrCodeFlowControl, func(p *peer) {
			for id := uint32(1); id <= 9; id += 2 {
				p.request(id, false, "POST", "/hold")
				for range 4 {
					p.raw(http2.FrameData, 0, id, make([]byte, 60<<10))
				}
			}
		}},
		"headers far too large": {http2.ErrCodeProtocol, func(p *peer) {
			p.raw(http2.FrameHeaders, 1, 1, p.fields(large(30)...))
			for range 4 { // the server is not obliged to read on
				_ = p.framer.WriteRawFrame(http2.FrameContinuation, 0, 1, bytes.Repeat([]byte{0}, 60<<10))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, testServer(), holding(t)).greet()
			c.send(p)
			p.goneAway(c.code)
		})
	}
}

// TestStreamErrors: what breaks one stream leaves the others.
func TestStreamErrors(t *testing.T) {
	for name, c := range map[string]struct {
		code http2.ErrCode
		send func(p *peer)
	}{
		"no path":              {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https")},
		"an empty path":        {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "")},
		"no method":            {http2.ErrCodeProtocol, headersOf(":scheme", "https", ":path", "/")},
		"no scheme":            {http2.ErrCodeProtocol, headersOf(":method", "GET", ":path", "/")},
		"two methods":          {http2.ErrCodeProtocol, headersOf(":method", "GET", ":method", "GET", ":scheme", "https", ":path", "/")},
		"a pseudo header late": {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", "a", "b", ":path", "/")},
		"an unknown pseudo":    {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "/", ":x", "/")},
		"a status":             {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "/", ":status", "200")},
		":protocol":            {http2.ErrCodeProtocol, headersOf(":method", "CONNECT", ":scheme", "https", ":path", "/", ":protocol", "websocket")},
		"upper case":           {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "/", "Accept", "x")},
		"a line feed":          {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "/", "accept", "x\ny")},
		"a path without slash": {http2.ErrCodeProtocol, headersOf(":method", "GET", ":scheme", "https", ":path", "x")},
		"length without body":  {http2.ErrCodeProtocol, headersOf(":method", "POST", ":scheme", "https", ":path", "/", "content-length", "3")},
		"a negative length":    {http2.ErrCodeProtocol, headersOf(":method", "POST", ":scheme", "https", ":path", "/", "content-length", "-1")},
		"CONNECT with a path":  {http2.ErrCodeProtocol, headersOf(":method", "CONNECT", ":authority", "a:1", ":path", "/")},
		"its own priority":     {http2.ErrCodeProtocol, func(p *peer) { p.raw(http2.FramePriority, 0, 1, append(window(1), 10)) }},
		"WINDOW_UPDATE of 0":   {http2.ErrCodeProtocol, func(p *peer) { p.request(1, false, "POST", "/hold"); p.raw(http2.FrameWindowUpdate, 0, 1, window(0)) }},
		"a window that overruns": {http2.ErrCodeFlowControl, func(p *peer) {
			p.request(1, false, "POST", "/hold")
			p.raw(http2.FrameWindowUpdate, 0, 1, window(maxWindow))
		}},
		"DATA after its end": {http2.ErrCodeStreamClosed, func(p *peer) {
			p.request(1, true, "GET", "/hold")
			p.raw(http2.FrameData, 0, 1, []byte("x"))
		}},
		"HEADERS after its end": {http2.ErrCodeStreamClosed, func(p *peer) {
			p.request(1, true, "GET", "/hold")
			p.raw(http2.FrameHeaders, 5, 1, p.fields("a", "b"))
		}},
		"trailers that do not end": {http2.ErrCodeProtocol, func(p *peer) {
			p.request(1, false, "POST", "/hold")
			p.raw(http2.FrameHeaders, 4, 1, p.fields("a", "b"))
		}},
		"trailers with a pseudo header": {http2.ErrCodeProtocol, func(p *peer) {
			p.request(1, false, "POST", "/hold")
			p.raw(http2.FrameHeaders, 5, 1, p.fields(":method", "GET", ":scheme", "https", ":path", "/"))
		}},
		"more than its length": {http2.ErrCodeProtocol, func(p *peer) {
			p.request(1, false, "POST", "/hold", "content-length", "3")
			p.raw(http2.FrameData, 0, 1, []byte("four"))
		}},
		"less than its length": {http2.ErrCodeProtocol, func(p *peer) {
			p.request(1, false, "POST", "/hold", "content-length", "3")
			p.raw(http2.FrameData, 1, 1, []byte("x"))
		}},
		"more than its window": {http2.ErrCodeFlowControl, func(p *peer) {
			p.request(1, false, "POST", "/hold")
			for range 5 {
				p.raw(http2.FrameData, 0, 1, make([]byte, 60<<10))
			}
		}},
		"one stream too many": {http2.ErrCodeProtocol, func(p *peer) {
			p.alive(1) // its answer comes after our acknowledgment of settings
			for id := uint32(3); id < 3+2*10; id += 2 {
				p.request(id, true, "GET", "/hold")
			}
			p.request(101, true, "GET", "/hold")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, testServer(), holding(t)).greet()
			c.send(p)
			id, after := uint32(1), uint32(103)
			if name == "one stream too many" {
				p.reset(101, c.code)
				p.raw(http2.FrameRSTStream, 0, 3, window(8)) // makes room
				p.alive(after)
				return
			}
			p.reset(id, c.code)
			p.alive(after)
		})
	}
}

func headersOf(pairs ...string) func(*peer) {
	return func(p *peer) { p.raw(http2.FrameHeaders, 5, 1, p.fields(pairs...)) }
}

// TestTolerated: what looks odd and is allowed.
func TestTolerated(t *testing.T) {
	p := connect(t, testServer(), holding(t)).greet()
	p.raw(http2.FrameType(0xbe), 0xff, 0, []byte("unknown"))
	p.raw(http2.FramePriority, 0, 9, append(window(1), 10))
	p.ok(p.framer.WriteSettings(http2.Setting{ID: 0xabcd, Val: 1}))
	p.alive(1)
	p.raw(http2.FrameWindowUpdate, 0, 1, window(1)) // of a stream that has ended
	p.raw(http2.FrameRSTStream, 0, 1, window(8))
	p.ok(p.framer.WritePing(false, [8]byte{1}))
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if ping, ok := f.(*http2.PingFrame); ok {
			if !ping.IsAck() || ping.Data != [8]byte{1} {
				t.Fatal(ping)
			}
			break
		}
	}
}

// large is a request with n headers of 1 KB.
func large(n int) []string {
	all := []string{":method", "GET", ":scheme", "https", ":path", "/"}
	for i := range n {
		all = append(all, fmt.Sprint("x", i), strings.Repeat("X", 1<<10))
	}
	return all
}

// TestHeadersTooLarge: somewhat too large is told, and the connection goes on.
func TestHeadersTooLarge(t *testing.T) {
	p := connect(t, testServer(), holding(t)).greet()
	b := append([]byte(nil), p.fields(large(17)...)...)
	p.raw(http2.FrameHeaders, 1, 1, b[:8<<10])
	p.raw(http2.FrameContinuation, 4, 1, b[8<<10:])
	if status, _ := p.answer(1); status != "431" {
		t.Fatal(status)
	}
	p.alive(3)
}

// TestPreface: what is not HTTP/2 is closed.
func TestPreface(t *testing.T) {
	for _, first := range []string{"GET / HTTP/1.1\r\n\r\nxxxxxxxxxxxxxxxxx", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"} {
		p := connect(t, testServer(), echo)
		p.write([]byte(first))
		for {
			if _, err := p.framer.ReadFrame(); err != nil {
				break
			}
		}
	}
	p := connect(t, testServer(), echo)
	p.write([]byte(http2.ClientPreface))
	p.ok(p.framer.WritePing(false, [8]byte{})) // settings must come first
	p.goneAway(http2.ErrCodeProtocol)
}

// TestForbiddenHeaders are those of a connection, which HTTP/2 has no use for.
func TestForbiddenHeaders(t *testing.T) {
	p := connect(t, testServer(), echo).greet()
	for i, h := range [][2]string{{"connection", "close"}, {"upgrade", "websocket"}, {"transfer-encoding", "chunked"}, {"te", "gzip"}, {"keep-alive", "1"}, {"proxy-connection", "x"}} {
		id := uint32(2*i + 1)
		p.request(id, true, "GET", "/", h[0], h[1])
		if status, _ := p.answer(id); status != "400" {
			t.Errorf("%s: %s: status %s", h[0], h[1], status)
		}
	}
	p.request(101, true, "GET", "/", "te", "trailers", "host", "other")
	if status, _ := p.answer(101); status != "200" {
		t.Error(status)
	}
}

// TestRapidReset: streams that are opened and reset at once don't run more
// handlers than streams may be open, and end in GOAWAY.
func TestRapidReset(t *testing.T) {
	s := testServer()
	h := &counted{release: make(chan struct{})}
	t.Cleanup(func() { close(h.release) })
	p := connect(t, s, h).greet()
	go func() {
		for id := uint32(1); id < 100_000; id += 2 {
			b := p.fields(":method", "GET", ":scheme", "https", ":authority", "test", ":path", fmt.Sprint("/", id))
			if p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true, EndStream: true}) != nil ||
				p.framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Fatal(g.ErrCode)
			}
			break
		}
	}
	if n := h.most.Load(); n > 10 {
		t.Errorf("%d handlers at once", n)
	}
}

// TestHalfFrame: an answer does not wait for the rest of what comes after its
// request, whether the reader makes it or another; nor does a request for its body.
func TestHalfFrame(t *testing.T) {
	for _, inline := range []bool{false, true} {
		s := New(Options{Inline: func(*http.Request) bool { return inline }})
		p := connect(t, s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })).greet()
		var b bytes.Buffer
		f := http2.NewFramer(&b, nil)
		get := append([]byte(nil), p.fields(":method", "GET", ":scheme", "https", ":path", "/")...)
		post := p.fields(":method", "POST", ":scheme", "https", ":path", "/")
		p.ok(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get, EndHeaders: true, EndStream: true}))
		p.ok(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: post, EndHeaders: true}))
		p.ok(f.WriteData(3, true, make([]byte, 3000)))
		p.write(b.Bytes()[:b.Len()-1000])
		for range 2 {
			f, err := p.next()
			h, ok := f.(*http2.MetaHeadersFrame)
			if r, is := f.(*http2.RSTStreamFrame); is && r.StreamID == 3 && r.ErrCode == http2.ErrCodeNo {
				f, err = p.next()
				h, ok = f.(*http2.MetaHeadersFrame)
			}
			if err != nil || !ok || h.PseudoValue("status") != "401" {
				t.Fatal(f, err)
			}
		}
	}
}

// TestUnreadBody: who is answered before a short body has come may send it all
// the same; a long one need not be sent, and one that does not come is not
// waited for.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	p := connect(t, New(Options{}), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })).greet()
	answered := func(id uint32) {
		t.Helper()
		f, err := p.next()
		if h, ok := f.(*http2.MetaHeadersFrame); err != nil || !ok || h.StreamID != id || h.PseudoValue("status") != "401" || !h.StreamEnded() {
			t.Fatalf("stream %d: %v, %v", id, f, err)
		}
	}
	id := uint32(1)
	for ; id < 600; id += 2 { // more than may be open at once
		p.request(id, false, "POST", "/", "content-length", "3000")
		p.ok(p.framer.WriteData(id, false, make([]byte, 1000)))
		answered(id)
		p.ok(p.framer.WriteData(id, false, make([]byte, 1000)))
		p.ok(p.framer.WriteData(id, true, make([]byte, 1000)))
	}
	p.request(id, false, "POST", "/", "content-length", "1000000")
	p.ok(p.framer.WriteData(id, false, make([]byte, 1000)))
	answered(id)
	p.reset(id, http2.ErrCodeNo)
	p.request(id+2, false, "POST", "/", "content-length", "3000")
	p.ok(p.framer.WriteData(id+2, false, make([]byte, 1000)))
	answered(id + 2)
	p.request(id+4, false, "POST", "/", "content-length", "10")
	answered(id + 4)
	p.ok(p.framer.WriteData(id+4, true, make([]byte, 11)))
	p.reset(id+4, http2.ErrCodeProtocol) // too much is an error as ever
	p.reset(id+2, http2.ErrCodeNo)       // a while later
}
