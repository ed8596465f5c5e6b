package server

import (
	"net/http"
	"time"
)

// paced is a response that ends when who asked for it takes nothing of it for
// too long. All of it may take as long as it likes.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// Write implements io.Writer.
func (p paced) Write(b []byte) (int, error) {
	p.wait()
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// wait is ignored where a connection knows no deadlines.
func (p paced) wait() { _ = p.control.SetWriteDeadline(time.Now().Add(p.stall)) }

// finish sends what has been held back, and lets further answers of the
// connection take their time.
func (p paced) finish() {
	p.wait()
	if p.control.Flush() == nil {
		_ = p.control.SetWriteDeadline(time.Time{})
	}
}
