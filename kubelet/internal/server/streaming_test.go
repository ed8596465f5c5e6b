package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/moby/spdystream"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/containerdtest"
)

// TestStreams runs commands in a real container by all the protocols.
func TestStreams(t *testing.T) {
	r := containerdtest.Start(t)
	sandbox, config := r.Sandbox("p")
	id := r.Container(sandbox, config, "c", nil, "pause")
	reader := r.Container(sandbox, config, "reader", func(c *runtimeapi.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }, "cat")
	terminal := r.Container(sandbox, config, "terminal", func(c *runtimeapi.ContainerConfig) { c.Stdin, c.StdinOnce, c.Tty = true, true, true }, "cat")
	port := r.Container(sandbox, config, "server", nil, "serve", "127.0.0.1:0")
	res, err := r.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: port})
	if err != nil {
		t.Fatal(err)
	}
	pod := onePod("c", "reader", "server", "terminal")
	pod.Spec.Containers[3].TTY = true
	e := serveFor(t, &held{
		pods: []*corev1.Pod{pod}, sandbox: sandbox, runtime: r,
		containers: map[string]Container{"c": {ID: id, Running: true}, "reader": {ID: reader, Running: true}, "terminal": {ID: terminal, Running: true}, "server": {ID: port, LogPath: res.Status.LogPath, Running: true},
			"ended": {ID: id}},
	}, Options{})

	t.Run("WebSocket", func(t *testing.T) { commandsOverSockets(t, e) })
	t.Run("SPDY", func(t *testing.T) { commandOverSPDY(t, e) })
	t.Run("attach", func(t *testing.T) {
		c := e.socket(t, "/attach/default/p/reader?input=1&output=1", "v5.channel.k8s.io")
		c.write(stdinChannel, "hello")
		if have := c.next(); have != "1 hello" {
			t.Error(have)
		}
		c.raw([]byte{closeChannel, stdinChannel})
		if have := c.rest(); !strings.Contains(have, `"Success"`) {
			t.Error(have)
		}
	})
	// kubectl without a terminal of its own asks for both outputs: the end of
	// the container is the end of the stream nevertheless.
	t.Run("attach to a terminal", func(t *testing.T) {
		c := e.socket(t, "/attach/default/p/terminal?input=1&output=1&error=1", "v5.channel.k8s.io")
		c.write(stdinChannel, "hello\n\x04")
		if have := c.rest(); !strings.Contains(have, "hello") || !strings.Contains(have, `"Success"`) {
			t.Error(have)
		}
	})
	t.Run("run", func(t *testing.T) {
		if code, text := e.do(e.admin, "", "POST", "/run/default/p/c?cmd="+url.QueryEscape("/box echo a b")); code != 200 || text != "a b\n" {
			t.Errorf("%d %q", code, text)
		}
	})
	t.Run("port-forward", func(t *testing.T) { forwards(t, e, announced(t, e)) })
	t.Run("refusals", func(t *testing.T) { refusals(t, e) })
}

// announced is the port that the server in the container wrote to its log.
func announced(t *testing.T, e *endpoint) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, text := e.get("/containerLogs/default/p/server")
		if _, port, ok := strings.Cut(strings.TrimSpace(text), "127.0.0.1:"); ok {
			return port
		}
		if time.Now().After(end) {
			t.Fatalf("no port in %q", text)
		}
	}
}

type caller struct {
	t *testing.T
	*websocket.Conn
	codec codec
}

func (e *endpoint) socket(t *testing.T, path string, protocols ...string) *caller {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: e.tls(e.admin), Subprotocols: protocols}
	c, resp, err := d.Dial("wss://"+e.address+path, nil)
	if err != nil {
		text := ""
		if resp != nil {
			raw, _ := io.ReadAll(resp.Body)
			text = string(raw)
		}
		t.Fatalf("%s: %v %s", path, err, text)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &caller{t, c, codecOf(c.Subprotocol())}
}

func (c *caller) raw(p []byte) {
	c.t.Helper()
	if err := c.WriteMessage(c.codec.messageType(), p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) write(channel byte, text string) {
	c.t.Helper()
	c.raw(c.codec.encode(frame{channel: channel, data: []byte(text)}))
}

// next is a message as "channel text", "" at the end.
func (c *caller) next() string {
	c.t.Helper()
	_, p, err := c.ReadMessage()
	if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return ""
	}
	if err != nil {
		c.t.Fatal(err)
	}
	f, err := c.codec.decode(p)
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprint(f.channel, " ", string(f.data))
}

func (c *caller) rest() string {
	c.t.Helper()
	var out []string
	for m := c.next(); m != ""; m = c.next() {
		out = append(out, m)
	}
	return strings.Join(out, "|")
}

func commandsOverSockets(t *testing.T, e *endpoint) {
	const failed = `"status":"Failure"`
	for _, c := range []struct{ protocol, query, want string }{
		{"v5.channel.k8s.io", "output=1&command=/box&command=echo&command=hello&command=world", `1 hello world` + "\n" + `|3 {"status":"Success"}`},
		{"v4.channel.k8s.io", "output=1&command=/box&command=echo", "1 \n|3 {\"status\":\"Success\"}"},
		{"v4.base64.channel.k8s.io", "output=1&command=/box&command=echo&command=x", "1 x\n|3 {\"status\":\"Success\"}"},
		{"channel.k8s.io", "output=1&command=/box&command=echo&command=x", "1 x\n"},
		{"base64.channel.k8s.io", "output=1&command=/box&command=echo&command=x", "1 x\n"},
		{"", "output=1&command=/box&command=echo&command=x", "1 x\n"},
		{"v5.channel.k8s.io", "error=1&command=/box&command=both", "2 to stderr\n|3 {\"status\":\"Success\"}"},
	} {
		var offered []string
		if c.protocol != "" {
			offered = []string{c.protocol}
		}
		// Runtimes differ in whether they write empty metadata.
		if have := strings.ReplaceAll(e.socket(t, "/exec/default/p/c?"+c.query, offered...).rest(), `{"metadata":{},`, "{"); have != c.want {
			t.Errorf("%s %s\nhave %q\nwant %q", c.protocol, c.query, have, c.want)
		}
	}
	// The exit code comes as kubectl wants it.
	have := e.socket(t, "/exec/default/p/c?output=1&command=/box&command=exit&command=3", "v5.channel.k8s.io").rest()
	var status struct {
		Status, Reason string
		Details        struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(have, "3 ")), &status); err != nil || !strings.Contains(have, failed) || status.Reason != "NonZeroExitCode" || status.Details.Causes[0].Message != "3" {
		t.Errorf("%s %v", have, err)
	}
	// Input with its end, and much output.
	c := e.socket(t, "/exec/default/p/c?input=1&output=1&command=/box&command=cat", "v5.channel.k8s.io")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	go func() {
		for part := want; len(part) > 0; {
			n := min(len(part), 10000)
			if c.WriteMessage(websocket.BinaryMessage, append([]byte{stdinChannel}, part[:n]...)) != nil {
				return
			}
			part = part[n:]
		}
		_ = c.WriteMessage(websocket.BinaryMessage, []byte{closeChannel, stdinChannel}) // seen by what comes back
	}()
	var got bytes.Buffer
	for m := c.next(); m != ""; m = c.next() {
		if text, ok := strings.CutPrefix(m, "1 "); ok {
			got.WriteString(text)
		}
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d came back", got.Len(), len(want))
	}
	// A terminal that changes its size.
	c = e.socket(t, "/exec/default/p/c?input=1&output=1&error=1&tty=1&command=/box&command=size", "v5.channel.k8s.io")
	c.write(resizeChannel, `{"Width":42,"Height":17}`)
	if have := c.rest(); !strings.HasPrefix(have, "1 rows 17\r\n|3 ") {
		t.Errorf("%q", have)
	}
	// A caller who goes; and one who says what has no meaning.
	e.socket(t, "/exec/default/p/c?input=1&output=1&command=/box&command=cat", "v5.channel.k8s.io").Close()
	c = e.socket(t, "/exec/default/p/c?input=1&output=1&command=/box&command=cat", "v5.channel.k8s.io")
	c.raw(nil)
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseProtocolError) {
		t.Error(err)
	}
}

// spdy opens a path as client-go's older executor does.
func (e *endpoint) spdy(t *testing.T, path, protocol string) *spdystream.Connection {
	t.Helper()
	conn, resp := e.upgrade(t, path, "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: "+protocol+"\r\n")
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Stream-Protocol-Version") != protocol {
		raw, _ := io.ReadAll(resp.Body)
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, raw)
	}
	c, err := spdystream.NewConnection(conn, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go c.Serve(spdystream.NoOpStreamHandler)
	return c
}

type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (b bufferedConn) Read(p []byte) (int, error) { return b.in.Read(p) }

func (e *endpoint) upgrade(t *testing.T, path, headers string) (net.Conn, *http.Response) {
	t.Helper()
	conn, err := tls.Dial("tcp", e.address, e.tls(e.admin))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: n\r\n%s\r\n", path, headers); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return bufferedConn{conn, in}, resp
}

func open(t *testing.T, c *spdystream.Connection, headers map[string]string) *spdystream.Stream {
	t.Helper()
	h := http.Header{}
	for k, v := range headers {
		h.Set(k, v)
	}
	s, err := c.CreateStream(h, nil, false)
	if err == nil {
		err = s.WaitTimeout(time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commandOverSPDY(t *testing.T, e *endpoint) {
	c := e.spdy(t, "/exec/default/p/c?input=1&output=1&command=/box&command=cat", "v4.channel.k8s.io")
	status := open(t, c, map[string]string{"streamType": "error"})
	stdin := open(t, c, map[string]string{"streamType": "stdin"})
	stdout := open(t, c, map[string]string{"streamType": "stdout"})
	if _, err := stdin.Write([]byte("through")); err != nil {
		t.Fatal(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(onlyReader{stdout})
	if err != nil || string(out) != "through" {
		t.Errorf("%q %v", out, err)
	}
	if end, err := io.ReadAll(onlyReader{status}); err != nil || !strings.Contains(string(end), "Success") {
		t.Errorf("%q %v", end, err)
	}
}

// forwards talks to the server in the container, by SPDY and by SPDY inside
// of a WebSocket.
func forwards(t *testing.T, e *endpoint, port string) {
	talk := func(t *testing.T, c *spdystream.Connection) {
		for i := range 3 {
			h := map[string]string{"streamType": "error", "port": port, "requestID": fmt.Sprint(i)}
			fault := open(t, c, h)
			h["streamType"] = "data"
			data := open(t, c, h)
			if _, err := data.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			back := make([]byte, 4)
			if _, err := io.ReadFull(onlyReader{data}, back); err != nil || string(back) != "ping" {
				t.Errorf("%q %v", back, err)
			}
			// Older runtimes wait a second between the end of what the caller
			// says and the end of the connection: nothing to wait for here.
			if err := errors.Join(data.Reset(), fault.Reset()); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("SPDY", func(t *testing.T) { talk(t, e.spdy(t, "/portForward/default/p", "portforward.k8s.io")) })
	t.Run("tunnel", func(t *testing.T) {
		ws := e.socket(t, "/portForward/default/p", tunnelProtocol)
		near, far := net.Pipe()
		defer near.Close()
		go join(&messages{s: &socket{Conn: ws.Conn}, idle: time.Minute}, far)
		c, err := spdystream.NewConnection(near, false)
		if err != nil {
			t.Fatal(err)
		}
		go c.Serve(spdystream.NoOpStreamHandler)
		talk(t, c)
		c.Close()
	})
}

// refusals end the connection, with nothing of a stream behind them.
func refusals(t *testing.T, e *endpoint) {
	for path, want := range map[string]string{
		"/exec/default/p/c?command=/box":          "400 you must specify at least 1 of stdin, stdout, stderr\n",
		"/exec/default/none/c?output=1":           "404 pod does not exist\n",
		"/exec/default/p/wrong-uid/c?output=1":    "404 pod does not exist\n",
		"/exec/default/p/none?output=1":           "500 container not found (\"none\")\n",
		"/exec/default/p/ended?output=1":          "500 container not found (\"ended\")\n",
		"/attach/default/p/ended?output=1":        "500 container not found (\"ended\")\n",
		"/portForward/default/none":               "404 pod does not exist\n",
		"/exec/default/p/c?output=1&command=/box": "400 unable to upgrade: missing upgrade headers in request: \"SPDY/3.1\" or websocket is expected\n",
	} {
		if code, text := e.do(e.admin, "", "POST", path); fmt.Sprint(code, " ", text) != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	// Protocols that nobody knows.
	_, resp := e.upgrade(t, "/exec/default/p/c?output=1&command=/box", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n")
	if resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("%d, close: %v", resp.StatusCode, resp.Close)
	}
	for path, protocol := range map[string]string{"/exec/default/p/c?output=1&command=/box": "v9.channel.k8s.io", "/portForward/default/p": "v4.channel.k8s.io"} {
		d := websocket.Dialer{TLSClientConfig: e.tls(e.admin), Subprotocols: []string{protocol}}
		c, resp, err := d.Dial("wss://"+e.address+path, nil)
		if err == nil {
			c.Close()
		}
		if resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v %v", path, resp, err)
		}
	}
	// A page elsewhere may not use a browser's certificate.
	d := websocket.Dialer{TLSClientConfig: e.tls(e.admin), Subprotocols: []string{"v5.channel.k8s.io"}}
	if c, resp, err := d.Dial("wss://"+e.address+"/exec/default/p/c?output=1&command=/box", http.Header{"Origin": {"https://elsewhere"}}); err == nil {
		c.Close()
		t.Error("another origin was let in")
	} else if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Error(resp, err)
	}
}

func FuzzFrames(f *testing.F) {
	for _, p := range socketProtocols {
		f.Add(p, []byte{0})
		f.Add(p, []byte{closeChannel, 0})
		f.Add(p, []byte("1aGVsbG8="))
		f.Add(p, []byte{})
	}
	f.Fuzz(func(t *testing.T, protocol string, message []byte) {
		c := codecOf(protocol)
		got, err := c.decode(message)
		if err != nil {
			return
		}
		again, err := c.decode(c.encode(got))
		// Without the end of a channel, 255 is a number like another.
		if err != nil && !(c.closes && got.channel == closeChannel) {
			t.Fatalf("%q %+v: %v", protocol, got, err)
		}
		if err == nil && !(c.closes && got.channel == closeChannel) && (again.channel != got.channel || again.end != got.end || !bytes.Equal(again.data, got.data)) {
			t.Errorf("%q: %+v, then %+v", protocol, got, again)
		}
		if c.base64 && len(got.data) > base64.StdEncoding.DecodedLen(len(message)) {
			t.Error("more than was sent")
		}
	})
}
