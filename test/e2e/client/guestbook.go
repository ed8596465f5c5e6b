package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// guestbook plays one of the three parts of a guestbook: the leader keeps what
// people wrote, followers copy that from the leader, frontends write to the
// leader and read from followers.
func guestbook(ctx context.Context, part string, hosts []string) error {
	mux := http.NewServeMux()
	switch {
	case part == "leader" && len(hosts) == 0:
		(&book{}).keep(mux)
	case part == "follower" && len(hosts) == 1:
		b := &book{}
		mux.HandleFunc("GET /entries", b.read)
		go b.follow(ctx, hosts[0])
	case part == "frontend" && len(hosts) == 2:
		frontend(mux, hosts[0], hosts[1])
	default:
		return fmt.Errorf("guestbook: the part %q with %d hosts\n%s", part, len(hosts), usage)
	}
	s := &http.Server{Addr: ":8080", ReadHeaderTimeout: 10 * time.Second, Handler: mux}
	go func() {
		<-ctx.Done()
		s.Close()
	}()
	if err := s.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

// book is what people wrote.
type book struct {
	mu      sync.Mutex
	entries []string // guarded by mu
}

func (b *book) read(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprint(w, strings.Join(b.entries, "\n"))
}

// keep lets people write too.
func (b *book) keep(mux *http.ServeMux) {
	mux.HandleFunc("GET /entries", b.read)
	mux.HandleFunc("POST /entries", func(_ http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.entries = append(b.entries, r.FormValue("entry"))
	})
}

// follow copies the leader's again and again.
func (b *book) follow(ctx context.Context, leader string) {
	for ctx.Err() == nil {
		text, err := get("http://" + leader + "/entries")
		switch {
		case err != nil:
			fmt.Println("the leader:", err)
		case text != "":
			b.mu.Lock()
			b.entries = strings.Split(text, "\n")
			b.mu.Unlock()
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func frontend(mux *http.ServeMux, leader, follower string) {
	answer := func(w http.ResponseWriter, text string, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, text)
	}
	mux.HandleFunc("GET /write", func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.PostForm("http://"+leader+"/entries", url.Values{"entry": {r.FormValue("entry")}})
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		answer(w, "written", err)
	})
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, _ *http.Request) {
		text, err := get("http://" + follower + "/entries")
		answer(w, text, err)
	})
}
