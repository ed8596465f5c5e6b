package runtime

import (
	"bytes"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Limits of a termination message: Kubernetes'.
const (
	maxMessageFile = 4096
	maxMessageLog  = 2048 // bytes
	maxMessageTail = 80   // lines
)

// finish reads why a container ended, as its policy says.
func (c *Container) finish() {
	if c.State != Exited {
		return
	}
	if text := readMessage(c.MessageFile); text != "" {
		c.Message = text
		return
	}
	if c.MessagePolicy == corev1.TerminationMessageFallbackToLogsOnError && c.ExitCode != 0 {
		if text := tailOfLog(c.LogPath); text != "" {
			c.Message = text
		}
	}
}

// readMessage reads what the container wrote; the file is the container's
// own, so it may be anything by now.
func readMessage(path string) string {
	if path == "" {
		return ""
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxMessageFile))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(raw), "�")
}

// perLine is what the runtime writes before a line of a log, in bytes: time,
// stream and tag.
const perLine = 64

func tailOfLog(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	from := max(0, size-maxMessageLog-maxMessageTail*perLine)
	raw := make([]byte, size-from)
	if _, err := f.ReadAt(raw, from); err != nil && err != io.EOF {
		return ""
	}
	if _, rest, ok := bytes.Cut(raw, []byte("\n")); from > 0 && ok {
		raw = rest // the first line is cut
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		// TIME STREAM TAG TEXT, where tag P means that the line goes on.
		f := strings.SplitN(line, " ", 4)
		if len(f) < 4 {
			continue
		}
		text := f[3]
		if f[2] == "P" {
			text = strings.TrimSuffix(text, "\n")
		}
		lines = append(lines, text)
	}
	if len(lines) > maxMessageTail {
		lines = lines[len(lines)-maxMessageTail:]
	}
	text := strings.Join(lines, "")
	if len(text) > maxMessageLog {
		text = text[len(text)-maxMessageLog:]
	}
	return strings.ToValidUTF8(text, "�")
}
