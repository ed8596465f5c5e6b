package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// table is printed as Markdown.
type table struct {
	title string
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "### %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
	}
	fmt.Fprintln(w)
}

// ratio of ours to the peer's, and whether it reaches the target (0: none).
func ratio(ours, peer, target float64) string {
	if peer == 0 {
		return "-"
	}
	r := ours / peer
	text := fmt.Sprintf("%.2f", r)
	switch {
	case target == 0:
	case r <= target:
		text += fmt.Sprintf(" (goal %.2f)", target)
	default:
		text = fmt.Sprintf("**%s** (goal %.2f missed)", text, target)
	}
	return text
}

func limit(v, most float64, format string) string {
	text := fmt.Sprintf(format, v)
	if v > most {
		return fmt.Sprintf("**%s** (goal "+format+" missed)", text, most)
	}
	return fmt.Sprintf("%s (goal "+format+")", text, most)
}

func ms(d time.Duration) string {
	v := float64(d) / 1e6
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e3) }

func mb(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }

// machine says where the figures come from.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimLeft(strings.TrimSpace(v), ": ")
				break
			}
		}
	}
	load := ""
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(text))[0] + " at the end"
	}
	return fmt.Sprintf("%s, %s, %d processors (%s)%s", time.Now().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), model, load)
}

const (
	openMark  = "<!-- tables: make bench-server -->"
	closeMark = "<!-- end of tables -->"
)

// replace puts the tables into a document, between its marks.
func replace(path, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(doc), openMark)
	_, after, found := strings.Cut(rest, closeMark)
	if !ok || !found {
		return fmt.Errorf("%s lacks the marks %q and %q", path, openMark, closeMark)
	}
	return os.WriteFile(path, []byte(before+openMark+"\n\n"+text+closeMark+after), 0o644)
}
