package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fault is an error with the status that it is answered with.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return f.text }

func fail(w http.ResponseWriter, err error) {
	var f *fault
	if errors.As(err, &f) {
		http.Error(w, f.text, f.code)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// pod finds the pod that a request names.
func (s *Server) pod(r *http.Request) (*corev1.Pod, error) {
	pod, ok := s.pods.Pod(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok || r.PathValue("uid") != "" && r.PathValue("uid") != string(pod.UID) {
		return nil, &fault{http.StatusNotFound, "pod does not exist"}
	}
	return pod, nil
}

// container finds the running container that a request names.
func (s *Server) container(r *http.Request) (*corev1.Pod, Container, error) {
	pod, err := s.pod(r)
	if err != nil {
		return nil, Container{}, err
	}
	name := r.PathValue("container")
	c, found, err := s.pods.Container(r.Context(), pod, name, false)
	if err != nil {
		return nil, c, err
	}
	if !found || !c.Running {
		// One that has ended is no different from one that never was: nobody can get into it.
		return nil, c, &fault{http.StatusInternalServerError, fmt.Sprintf("container not found (%q)", name)}
	}
	return pod, c, nil
}

// wants are the streams that a request for exec or attach asks for.
type wants struct{ stdin, stdout, stderr, tty bool }

func streamsOf(q url.Values) (wants, error) {
	on := func(key string) bool { return q.Get(key) == "1" || q.Get(key) == "true" }
	w := wants{stdin: on("input"), stdout: on("output"), stderr: on("error"), tty: on("tty")}
	if w.tty {
		w.stderr = false // a terminal has one output
	}
	if !w.stdin && !w.stdout && !w.stderr {
		return w, &fault{http.StatusBadRequest, "you must specify at least 1 of stdin, stdout, stderr"}
	}
	return w, nil
}

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	streams, err := streamsOf(r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	_, c, err := s.container(r)
	if err != nil {
		fail(w, err)
		return
	}
	res, err := s.pods.Runtime().Exec(r.Context(), &runtimeapi.ExecRequest{
		ContainerId: c.ID, Cmd: r.URL.Query()["command"],
		Tty: streams.tty, Stdin: streams.stdin, Stdout: streams.stdout, Stderr: streams.stderr,
	})
	if err != nil {
		fail(w, err)
		return
	}
	s.remoteCommand(w, r, res.Url, streams)
}

func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	streams, err := streamsOf(r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	pod, c, err := s.container(r)
	if err != nil {
		fail(w, err)
		return
	}
	// What the container was started with, whatever the caller has: a runtime
	// that is asked for a terminal's error output waits for its end for ever.
	if streams.tty = terminal(pod, r.PathValue("container")); streams.tty {
		streams.stderr = false
	}
	res, err := s.pods.Runtime().Attach(r.Context(), &runtimeapi.AttachRequest{
		ContainerId: c.ID, Tty: streams.tty, Stdin: streams.stdin, Stdout: streams.stdout, Stderr: streams.stderr,
	})
	if err != nil {
		fail(w, err)
		return
	}
	s.remoteCommand(w, r, res.Url, streams)
}

// terminal says whether a container has one.
func terminal(pod *corev1.Pod, name string) bool {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return list[i].TTY
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			return c.TTY
		}
	}
	return false
}

func (s *Server) remoteCommand(w http.ResponseWriter, r *http.Request, target string, streams wants) {
	if websocket.IsWebSocketUpgrade(r) {
		s.commandSocket(w, r, target, streams)
		return
	}
	s.passThrough(w, r, target)
}

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	pod, err := s.pod(r)
	if err != nil {
		fail(w, err)
		return
	}
	id, err := s.pods.Sandbox(r.Context(), pod)
	if err != nil {
		fail(w, err)
		return
	}
	res, err := s.pods.Runtime().PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: id})
	if err != nil {
		fail(w, err)
		return
	}
	if websocket.IsWebSocketUpgrade(r) {
		s.tunnel(w, r, res.Url)
		return
	}
	s.passThrough(w, r, res.Url)
}

// passThrough connects the caller with the runtime: both speak SPDY. An
// answer other than a switch of protocols is passed on, and the connection
// ends with it, so that nothing can follow it through.
func (s *Server) passThrough(w http.ResponseWriter, r *http.Request, target string) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), spdyUpgrade) {
		http.Error(w, fmt.Sprintf("unable to upgrade: missing upgrade headers in request: %q or websocket is expected", spdyUpgrade), http.StatusBadRequest)
		return
	}
	out, err := dialRuntime(r.Context(), target, r.Header.Values("X-Stream-Protocol-Version"))
	if err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			w.Header().Set("Connection", "close")
			http.Error(w, refused.text, refused.code)
			return
		}
		fail(w, err)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "unable to upgrade: this connection is HTTP/2, use HTTP/1.1", http.StatusBadRequest)
		return
	}
	defer in.Close()
	if !s.track(in) {
		return
	}
	defer s.untrack(in)
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + spdyUpgrade + "\r\n"
	if out.protocol != "" {
		head += "X-Stream-Protocol-Version: " + out.protocol + "\r\n"
	}
	idleIn := s.idle(in)
	if _, err := io.WriteString(idleIn, head+"\r\n"); err != nil {
		return
	}
	// What the caller sent behind its request is in the buffer.
	join(readWriter{io.MultiReader(io.LimitReader(buffered, int64(buffered.Reader.Buffered())), idleIn), idleIn, in}, out)
}

// readWriter reads and writes by different ways.
type readWriter struct {
	io.Reader
	io.Writer
	closer io.Closer
}

func (r readWriter) Close() error { return r.closer.Close() }

// join copies both ways until one side ends, and then ends the other: SPDY
// has its own half-closes within.
func join(a, b io.ReadWriteCloser) {
	done := make(chan struct{}, 2)
	for _, d := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(d[0], d[1]) // an end is an end
			done <- struct{}{}
		}()
	}
	<-done
	a.Close()
	b.Close()
	<-done
}

// run executes a command and answers with its output.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	_, c, err := s.container(r)
	if err != nil {
		fail(w, err)
		return
	}
	res, err := s.pods.Runtime().ExecSync(r.Context(), &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: strings.Split(r.URL.Query().Get("cmd"), " ")})
	if err != nil {
		if context.Cause(r.Context()) == nil {
			s.log.Debug("a command could not be run", zap.Error(err))
		}
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if res.ExitCode != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "command terminated with exit code %d\n", res.ExitCode)
	}
	_, _ = w.Write(res.Stdout) // the reader may have gone
	_, _ = w.Write(res.Stderr)
}
