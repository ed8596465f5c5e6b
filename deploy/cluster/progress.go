package cluster

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Progress tells a person what happens: a line per step that is done, and
// what is waited for with the last thing that was wrong.
type Progress struct {
	begun time.Time
	tty   bool

	mu   sync.Mutex // guards what follows
	out  io.Writer
	said string
	when time.Time
}

// NewProgress writes to out; on a terminal a wait stays on one line.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, begun: time.Now()}
	if f, ok := out.(*os.File); ok {
		st, err := f.Stat()
		p.tty = err == nil && st.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// Done tells a step that is over.
func (p *Progress) Done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.said = ""
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.begun).Seconds(), fmt.Sprintf(format, args...))
}

// Wait tells what is waited for; off a terminal only when that has changed,
// or again after some seconds.
func (p *Progress) Wait(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	if p.tty {
		p.clear()
		p.said = text
		fmt.Fprintf(p.out, "%6.1fs  … %.90s", time.Since(p.begun).Seconds(), text)
		return
	}
	if text == p.said && time.Since(p.when) < 10*time.Second || time.Since(p.when) < time.Second {
		return
	}
	p.said, p.when = text, time.Now()
	fmt.Fprintf(p.out, "%6.1fs  … %s\n", time.Since(p.begun).Seconds(), text)
}

func (p *Progress) clear() {
	if p.tty && p.said != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// Elapsed since the beginning.
func (p *Progress) Elapsed() time.Duration { return time.Since(p.begun) }
