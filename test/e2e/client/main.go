// Command client is what end-to-end tests run in pods, and on nodes: a server
// that says who it is, callers that keep count, and a client-go program that
// lives on its pod's token.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: client VERB
  serve [HTTP [UDP]]    says its host name over HTTP and UDP, at ports 8080 and 8081
  say WORD…             prints them
  grpc PORT             says over gRPC that it is well
  get URL…              prints what each URL says
  udp HOST:PORT…        prints what each address answers over UDP
  name udp|tcp SERVER NAME
                        prints a name's addresses, or its canonical name
  hold HOST:PORT        asks again and again over one TCP connection once it can be had, until that breaks
  call HOST:PORT        asks again and again, over a new connection each time
  guestbook leader | follower LEADER | frontend LEADER FOLLOWER
                        plays a part of a guestbook, at port 8080
  token FILE            reads pods of its namespace with client-go again and again`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no verb\n%s", usage)
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "serve" && len(args) <= 2:
		ports := []string{"8080", "8081"}
		copy(ports, args)
		return serve(ctx, ports[0], ports[1])
	case verb == "say":
		fmt.Println(strings.Join(args, " "))
		return nil
	case verb == "grpc" && len(args) == 1:
		return healthy(ctx, args[0])
	case verb == "get":
		return each(args, get)
	case verb == "udp":
		return each(args, udp)
	case verb == "name" && len(args) == 3:
		return name(ctx, args[0], args[1], args[2])
	case verb == "hold" && len(args) == 1:
		return hold(ctx, args[0])
	case verb == "call" && len(args) == 1:
		return call(ctx, args[0])
	case verb == "guestbook" && len(args) > 0:
		return guestbook(ctx, args[0], args[1:])
	case verb == "token" && len(args) == 1:
		return token(ctx, args[0])
	}
	return fmt.Errorf("verb %q with %d arguments\n%s", verb, len(args), usage)
}

func each(args []string, do func(string) (string, error)) error {
	for _, a := range args {
		got, err := do(a)
		if err != nil {
			return err
		}
		fmt.Println(strings.TrimSpace(got))
	}
	return nil
}

func serve(ctx context.Context, httpPort, udpPort string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", ":"+udpPort)
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 1500)
		for {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := packets.WriteTo([]byte(host), from); err != nil {
				fmt.Println("answer", from, err)
			}
		}
	}()
	s := &http.Server{Addr: ":" + httpPort, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Method", r.Method)
		switch {
		case r.URL.Path == "/hostname":
			fmt.Fprint(w, host)
		case strings.HasPrefix(r.URL.Path, "/status/"):
			code, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/"))
			if err != nil || code < 100 || code > 599 {
				code = http.StatusBadRequest
			}
			w.WriteHeader(code)
		default:
			fmt.Fprintf(w, "%s %s at %s", r.Method, r.URL.Path, host)
		}
		fmt.Println(r.Method, r.URL.Path, "by", r.RemoteAddr)
	})}
	go func() {
		<-ctx.Done()
		packets.Close()
		s.Close()
	}()
	if err := s.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

func get(url string) (string, error) {
	// A new connection each time: each may be led elsewhere.
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), err
}

func udp(address string) (string, error) {
	c, err := net.Dial("udp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	buffer := make([]byte, 1500)
	for range 5 { // a datagram may get lost
		if _, err = c.Write([]byte("hostName")); err != nil {
			return "", err
		}
		if err = c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return "", err
		}
		var n int
		if n, err = c.Read(buffer); err == nil {
			return string(buffer[:n]), nil
		}
	}
	return "", fmt.Errorf("%s does not answer: %w", address, err)
}

// connect opens a connection, once it can be had: who asks for a Service may
// be there before its name and its endpoints are.
func connect(ctx context.Context, address string) (net.Conn, error) {
	for {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		fmt.Println("not yet:", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// hold counts answers over one connection, and tells them each second and at
// the end. A connection that breaks is the error.
func hold(ctx context.Context, address string) error {
	conn, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("connected", conn.LocalAddr())
	request := []byte("GET /hostname HTTP/1.1\r\nHost: held\r\n\r\n")
	buffer := make([]byte, 4096)
	answers, said := 0, time.Now()
	for ctx.Err() == nil {
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("after %d answers: %w", answers, err)
		}
		// A stall is no break: a busy machine may take its time.
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		n, err := conn.Read(buffer)
		if err != nil {
			return fmt.Errorf("after %d answers: %w", answers, err)
		}
		if !bytes.HasPrefix(buffer[:n], []byte("HTTP/1.1 200")) {
			return fmt.Errorf("after %d answers: %q", answers, buffer[:n])
		}
		answers++
		if time.Since(said) > time.Second {
			fmt.Println("answers", answers)
			said = time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("answers", answers, "and no break")
	return nil
}

// call makes a new connection for each question, and counts those that fail.
func call(ctx context.Context, address string) error {
	answers, failed := 0, 0
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/hostname", nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(request)
		switch {
		case err == nil:
			resp.Body.Close()
			answers++
		case ctx.Err() == nil:
			failed++
			fmt.Println("failed:", time.Now().UTC().Format(time.TimeOnly), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Println("answers", answers, "failed", failed)
	return nil
}

// name asks a DNS server.
func name(ctx context.Context, network, server, host string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
	canonical, err := r.LookupCNAME(ctx, host)
	if err != nil {
		return err
	}
	addresses, err := r.LookupHost(ctx, host)
	if err != nil {
		return err
	}
	fmt.Println("canonical", canonical, "addresses", strings.Join(addresses, " "))
	return nil
}
