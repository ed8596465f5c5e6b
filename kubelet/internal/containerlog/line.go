// Package containerlog reads the logs that container runtimes write in CRI's
// format, and follows them across rotation.
package containerlog

import (
	"bytes"
	"errors"
	"time"
)

// Line is one line of a log file.
type Line struct {
	Time   time.Time
	Stream string // stdout or stderr
	// Partial: the next line of the stream goes on with it.
	Partial bool
	// Text without the line's end.
	Text []byte
}

var (
	errTime   = errors.New("no time at the line's beginning")
	errStream = errors.New("no stream (stdout or stderr) behind the time")
	errTags   = errors.New("no tags (F or P) behind the stream")
)

// Parse reads a line: time, stream, tags and text, separated by blanks. The
// text refers to raw.
func Parse(raw []byte) (Line, error) {
	raw = bytes.TrimSuffix(raw, []byte{'\n'})
	stamp, rest, ok := bytes.Cut(raw, []byte{' '})
	if !ok {
		return Line{}, errTime
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Line{}, errTime
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	l := Line{Time: at, Stream: string(stream)}
	if !ok || l.Stream != "stdout" && l.Stream != "stderr" {
		return Line{}, errStream
	}
	tags, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return Line{}, errTags
	}
	first, _, _ := bytes.Cut(tags, []byte{':'})
	switch string(first) {
	case "P":
		l.Partial = true
	case "F":
	default:
		return Line{}, errTags
	}
	l.Text = text
	return l, nil
}
