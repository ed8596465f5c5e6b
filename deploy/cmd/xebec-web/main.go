// Command xebec-web is a small web application for trying a cluster out: it
// says which pod answered, how often, and by which name it was asked.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, env("LISTEN", ":8080")); err != nil {
		fmt.Fprintln(os.Stderr, "xebec-web:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	var visits atomic.Int64
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from %s, visit %d, asked as %s by %s\n", env("GREETING", "Hello"), host, visits.Add(1), r.Host, r.RemoteAddr)
		fmt.Printf("%s %s %s\n", r.RemoteAddr, r.Method, r.URL.Path)
	})
	s := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- s.Shutdown(wait)
	}()
	fmt.Println("listening on", listen)
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
