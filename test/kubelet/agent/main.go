// Command agent is what the pods of the tests run: its first argument says
// what to do.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"wait"}
	}
	if err := run(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "wait": // until it is told to stop
		wait()
	case "stubborn": // does not listen to TERM
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "serve": // HTTP on a port
		return serve(args[0])
	case "grpc":
		return serveGRPC(args[0])
	case "exit":
		os.Exit(number(args[0]))
	case "fail": // says something, then fails
		fmt.Println(strings.Join(args[1:], " "))
		os.Exit(number(args[0]))
	case "sleep": // seconds, then done
		time.Sleep(time.Duration(number(args[0])) * time.Second)
	case "echo":
		fmt.Println(strings.Join(args, " "))
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "cat":
		for _, f := range args {
			raw, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			fmt.Print(string(raw))
		}
	case "write": // FILE TEXT…
		return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")), 0o644)
	case "append":
		f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = fmt.Fprintln(f, strings.Join(args[1:], " "))
		return err
	case "exists":
		_, err := os.Stat(args[0])
		return err
	case "get": // URL
		return get(args[0])
	case "id":
		groups, err := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), groups)
		return err
	case "memory": // fills so many MiB
		block := make([]byte, number(args[0])<<20)
		for i := range block {
			block[i] = byte(i)
		}
		time.Sleep(time.Hour)
	case "fill": // FILE with so many MiB, then waits
		if err := os.WriteFile(args[0], make([]byte, number(args[1])<<20), 0o644); err != nil {
			return err
		}
		wait()
	case "hostname":
		name, err := os.Hostname()
		fmt.Println(name)
		return err
	case "lines": // N lines
		for i := range number(args[0]) {
			fmt.Println("line", i)
		}
	case "flood": // N numbered lines, a millisecond apart, then waits
		for i := range number(args[0]) {
			fmt.Printf("line %08d %s\n", i, strings.Repeat("x", 100))
			time.Sleep(time.Millisecond)
		}
		wait()
	case "links": // where symbolic links lead
		for _, f := range args {
			to, err := os.Readlink(f)
			if err != nil {
				return err
			}
			fmt.Println(to)
		}
	case "link": // TO FILE
		return os.Symlink(args[0], args[1])
	case "mode": // FILE…: its mode, user and group
		for _, f := range args {
			info, err := os.Stat(f)
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			fmt.Printf("%04o %d %d\n", st.Mode&0o7777, st.Uid, st.Gid)
		}
	case "room": // DIR: how many MiB can be written there
		return room(args[0])
	case "once": // FILE CODE: ends so the first time only, then waits
		if _, err := os.Stat(args[0]); err == nil {
			wait()
			return nil
		}
		if err := os.WriteFile(args[0], nil, 0o644); err != nil {
			return err
		}
		os.Exit(number(args[1]))
	case "then": // MESSAGE-FILE TEXT CODE
		if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
			return err
		}
		os.Exit(number(args[2]))
	default:
		return fmt.Errorf("agent: %q is not known", what)
	}
	return nil
}

// room fills a directory until nothing more fits.
func room(dir string) error {
	f, err := os.Create(dir + "/fill")
	if err != nil {
		return err
	}
	defer f.Close()
	block, n := make([]byte, 1<<20), 0
	for {
		if _, err := f.Write(block); err != nil {
			fmt.Println(n, err)
			return nil
		}
		n++
	}
}

func wait() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}

func get(url string) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s", res.Status)
	}
	return nil
}

// serve answers /healthz until /break is asked for, and counts other calls.
func serve(port string) error {
	var broken atomic.Bool
	var calls atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) { broken.Store(true) })
	mux.HandleFunc("/mend", func(http.ResponseWriter, *http.Request) { broken.Store(false) })
	mux.HandleFunc("/calls", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, calls.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		fmt.Println("asked for", r.URL.Path)
		fmt.Fprintln(w, "hello")
	})
	go func() {
		wait()
		fmt.Println("stopping")
		os.Exit(0)
	}()
	fmt.Println("serving")
	return http.ListenAndServe(":"+port, mux)
}

func serveGRPC(port string) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	return s.Serve(l)
}
