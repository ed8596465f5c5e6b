package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profiler takes profiles of kube-apiserver, of its CPU and of what it
// allocates, beside each measurement of it, when asked to; the figures of such a run hold the profiler's own cost.
type profiler struct {
	dir   string
	admin *tls.Config
	count int
}

// watch profiles p for d, in the background.
func (f *profiler) watch(p *process, what string, d time.Duration) {
	if f == nil || f.dir == "" || p.name != "kube-apiserver" {
		return
	}
	f.count++
	for _, kind := range []string{"profile", "allocs"} {
		file := filepath.Join(f.dir, fmt.Sprintf("%02d-%s.%s.pprof", f.count, what, kind))
		go f.fetch(fmt.Sprintf("https://%s/debug/pprof/%s?seconds=%d", p.address(), kind, max(1, int(d.Seconds()))), file)
	}
}

func (f *profiler) fetch(url, file string) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: f.admin.Clone(), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	defer resp.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	defer out.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
}
