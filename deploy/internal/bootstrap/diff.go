package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Diff is what an upgrade to a version would change in the manifests of this
// node's control plane, as unified diffs.
func (u *Upgrade) Diff(ctx context.Context, target string, lines int) (string, error) {
	if !u.plane {
		return "", errors.New("this node has no control plane: there are no manifests to compare")
	}
	next := *u.Cluster
	if target != "" {
		next.KubernetesVersion = "v" + strings.TrimPrefix(strings.SplitN(target, "+", 2)[0], "v")
	}
	u.Cluster = &next
	texts, err := u.render()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range u.order() {
		old, err := os.ReadFile(u.manifest(name))
		if err != nil {
			return "", err
		}
		b.WriteString(unified(u.manifest(name), "new manifest", old, texts[name], lines))
	}
	return b.String(), ctx.Err()
}

// edit is a line of a diff: ' ' of both texts, '-' of the old, '+' of the new.
type edit struct {
	op   byte
	text string
}

// unified is the unified diff of two texts; empty when they are equal.
func unified(oldName, newName string, before, after []byte, context int) string {
	if bytes.Equal(before, after) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
	edits := compare(textLines(before), textLines(after))
	for _, h := range hunks(edits, max(context, 0)) {
		h.write(&b, edits)
	}
	return b.String()
}

func textLines(text []byte) []string {
	return slices.Collect(strings.Lines(string(text)))
}

// compare aligns two texts by the longest common subsequence of their lines.
// Manifests are short: a table of all pairs of lines is small.
func compare(a, b []string) []edit {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// hunk is a range of edits.
type hunk struct{ from, to int }

// hunks are the changes with lines of context around them, those that touch joined.
func hunks(edits []edit, context int) []hunk {
	var out []hunk
	for i, e := range edits {
		if e.op == ' ' {
			continue
		}
		from, to := max(i-context, 0), min(i+context+1, len(edits))
		if n := len(out); n > 0 && from <= out[n-1].to {
			out[n-1].to = to
		} else {
			out = append(out, hunk{from, to})
		}
	}
	return out
}

func (h hunk) write(b *strings.Builder, edits []edit) {
	count := func(part []edit, not byte) (n int) {
		for _, e := range part {
			if e.op != not {
				n++
			}
		}
		return n
	}
	// A range without lines is named by the line before it.
	place := func(not byte) string {
		start, n := count(edits[:h.from], not)+1, count(edits[h.from:h.to], not)
		switch n {
		case 0:
			return fmt.Sprintf("%d,0", start-1)
		case 1:
			return fmt.Sprint(start)
		}
		return fmt.Sprintf("%d,%d", start, n)
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", place('+'), place('-'))
	for _, e := range edits[h.from:h.to] {
		b.WriteByte(e.op)
		b.WriteString(e.text)
		if !strings.HasSuffix(e.text, "\n") {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
}
