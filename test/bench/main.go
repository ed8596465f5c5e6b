// Command bench measures kube-apiserver beside upstream's generic API server
// library, both on the same etcd in the same run, and prints ratios. The load
// is as light as a client can be: it decodes nothing but frame headers.
//
// See docs/benchmarks.md for what is measured, and how to run parts of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	only  string
	quick bool
	write string
	root  string
	again bool
	// profiles is a directory, "" for none.
	profiles string
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "parts, separated by commas: start, get, create, watch, list; all when empty")
	flag.BoolVar(&o.quick, "quick", false, "shorter and without 50k pods: a look, not a figure")
	flag.StringVar(&o.write, "write", "", "a Markdown file in which the tables between the marks are replaced")
	flag.StringVar(&o.root, "root", "..", "the tree's root, with bin/")
	flag.BoolVar(&o.again, "build", false, "build etcd and the peer again though they exist")
	flag.StringVar(&o.profiles, "profiles", "", "a directory for CPU profiles of kube-apiserver, one for each measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// binaries are made when missing: the peer takes minutes to compile.
func binaries(ctx context.Context, root string, again bool) error {
	for _, b := range []struct{ name, dir string }{{"etcd", "test/etcd"}, {"peer-apiserver", "test/bench/peer"}} {
		out, err := filepath.Abs(filepath.Join(root, "bin", b.name))
		if err != nil {
			return err
		}
		if _, err := os.Stat(out); err == nil && !again {
			continue
		}
		fmt.Fprintf(os.Stderr, "building %s\n", b.name)
		c := exec.CommandContext(ctx, "go", "build", "-o", out, ".")
		c.Dir, c.Stderr = filepath.Join(root, b.dir), os.Stderr
		c.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if err := c.Run(); err != nil {
			return fmt.Errorf("build %s: %w", b.name, err)
		}
	}
	return nil
}

func run(ctx context.Context, o options) error {
	if err := binaries(ctx, o.root, o.again); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	b, err := newBench(o, dir)
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.all(ctx); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s; the run took %s.\n\n", machine(), time.Since(began).Round(time.Second))
	for _, t := range b.tables {
		t.print(&text)
	}
	if _, err := io.WriteString(os.Stdout, text.String()); err != nil {
		return err
	}
	if o.write == "" {
		return nil
	}
	return replace(o.write, text.String())
}
