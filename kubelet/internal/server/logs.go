package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/containerlog"
)

// logOptions reads the query of a request for logs.
func logOptions(q url.Values, now time.Time) (o containerlog.Options, previous bool, err error) {
	on := func(key string) bool {
		v, err := strconv.ParseBool(q.Get(key))
		return q.Has(key) && (err != nil || v)
	}
	o.Follow, o.Timestamps, previous = on("follow"), on("timestamps"), on("previous")
	number := func(key string, least int64) (*int64, error) {
		if q.Get(key) == "" {
			return nil, nil
		}
		n, err := strconv.ParseInt(q.Get(key), 10, 64)
		if err != nil || n < least {
			return nil, fmt.Errorf("%s: %q must be a number of at least %d", key, q.Get(key), least)
		}
		return &n, nil
	}
	if o.Tail, err = number("tailLines", 0); err != nil {
		return o, previous, err
	}
	if o.Limit, err = number("limitBytes", 1); err != nil {
		return o, previous, err
	}
	since, err := number("sinceSeconds", 1)
	if err != nil {
		return o, previous, err
	}
	if since != nil {
		o.Since = now.Add(-time.Duration(*since) * time.Second)
	}
	if text := q.Get("sinceTime"); text != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return o, previous, fmt.Errorf("sinceTime: %q must be a time like 2006-01-02T15:04:05Z", text)
		}
	}
	switch stream := q.Get("stream"); stream {
	case "", corev1.LogStreamAll:
	case corev1.LogStreamStdout:
		o.Stream = "stdout"
	case corev1.LogStreamStderr:
		o.Stream = "stderr"
	default:
		return o, previous, fmt.Errorf("stream: %q is none of All, Stdout and Stderr", stream)
	}
	return o, previous, nil
}

// containerLogs streams a container's log.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	o, previous, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	pod, ok := s.pods.Pod(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	name := r.PathValue("container")
	if !hasContainer(pod, name) {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", name, pod.Name), http.StatusNotFound)
		return
	}
	before := previous && !between(status(pod, name))
	c, found, err := s.pods.Container(r.Context(), pod, name, before)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if !found || c.LogPath == "" {
		http.Error(w, noLog(pod, name, previous), http.StatusBadRequest)
		return
	}
	o.Running = func(ctx context.Context) bool {
		now, found, err := s.pods.Container(ctx, pod, name, false)
		return err != nil || found && now.ID == c.ID && now.Running
	}
	s.stream(w, r, c.LogPath, o)
}

// between reports whether a container has ended and waits to be started
// again: the newest run is the previous one then.
func between(st *corev1.ContainerStatus) bool {
	return st != nil && st.State.Waiting != nil && st.LastTerminationState.Terminated != nil
}

// started is a response whose header goes out with the first byte, so that
// an error before that is told as one.
type started struct {
	http.ResponseWriter
	yes bool
}

func (s *started) Write(p []byte) (int, error) {
	s.yes = true
	return s.ResponseWriter.Write(p)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, path string, o containerlog.Options) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := &started{ResponseWriter: w}
	control := http.NewResponseController(w)
	flush := func() {
		out.yes = true
		_ = control.Flush() // shows at the next write
	}
	err := containerlog.Read(r.Context(), path, o, out, flush)
	switch {
	case err == nil || r.Context().Err() != nil:
	case out.yes:
		s.log.Warn("a log could not be read to its end", zap.String("path", path), zap.Error(err))
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, fmt.Sprintf("failed to try resolving symlinks in path %q: %v", path, err), http.StatusNotFound)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func hasContainer(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return true
		}
	}
	return false
}

func status(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// noLog says why a container has no log.
func noLog(pod *corev1.Pod, name string, previous bool) string {
	st := status(pod, name)
	switch {
	case previous:
		return fmt.Sprintf("previous terminated container %q in pod %q not found", name, pod.Name)
	case st == nil:
		return fmt.Sprintf("container %q in pod %q is not available", name, pod.Name)
	case st.State.Waiting != nil && st.State.Waiting.Reason != "":
		why := st.State.Waiting.Reason
		if why == "ErrImagePull" || why == "ImagePullBackOff" {
			return fmt.Sprintf("container %q in pod %q is waiting to start: %s", name, pod.Name, map[bool]string{true: "image can't be pulled", false: "trying and failing to pull image"}[why == "ErrImagePull"])
		}
		return fmt.Sprintf("container %q in pod %q is waiting to start: %s", name, pod.Name, why)
	case st.State.Terminated != nil:
		return fmt.Sprintf("container %q in pod %q is terminated", name, pod.Name)
	}
	return fmt.Sprintf("container %q in pod %q is waiting to start - no logs yet", name, pod.Name)
}

// systemLogs serves the node's own logs: files and directories below LogDir.
// Links are followed within it only; pipes and devices are not opened.
func (s *Server) systemLogs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := paced{ResponseWriter: w, control: http.NewResponseController(w), stall: s.stallTime}
		defer out.finish()
		w = out
		if r.URL.Query().Has("query") {
			s.queryLogs(w, r)
			return
		}
		root, err := os.OpenRoot(s.o.LogDir)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer root.Close()
		http.StripPrefix("/logs/", http.FileServerFS(plainFiles{root.FS()})).ServeHTTP(w, r)
	})
}

// plainFiles is a file system without anything that is neither a file nor a
// directory.
type plainFiles struct{ fs.FS }

func (p plainFiles) Open(name string) (fs.File, error) {
	info, err := fs.Stat(p.FS, name)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return p.FS.Open(name)
}

func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) {
	namespace, podName, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	pod, ok := s.pods.Pod(namespace, podName)
	if !ok {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container %v does not exist", container), http.StatusNotFound)
		return
	}
	timeout := time.Duration(0)
	if text := r.URL.Query().Get("timeout"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			http.Error(w, fmt.Sprintf("timeout: %q must be a number of seconds", text), http.StatusBadRequest)
			return
		}
		timeout = time.Duration(n) * time.Second
	}
	if s.o.Checkpoint == nil {
		http.Error(w, fmt.Sprintf("checkpointing of %v/%v/%v failed (the container runtime can't make checkpoints)", namespace, podName, container), http.StatusNotFound)
		return
	}
	path, err := s.o.Checkpoint(r.Context(), pod, container, timeout)
	if err != nil {
		http.Error(w, fmt.Sprintf("checkpointing of %v/%v/%v failed (%v)", namespace, podName, container, err), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string][]string{"items": {path}})
}
