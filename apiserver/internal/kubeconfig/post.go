package kubeconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"xebec.dev/apiserver/internal/tracing"
)

// maxAnswer bounds what a webhook may answer.
const maxAnswer = 3 << 20

// Retry says how a call is repeated when the server cannot answer.
type Retry struct {
	Tries int
	// First is the pause after the first try; it grows by half each time.
	First time.Duration
}

// DefaultRetry is that of authentication and authorization webhooks.
var DefaultRetry = Retry{Tries: 5, First: 500 * time.Millisecond}

// StatusError is an answer that is no success.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the webhook answered %d %s", e.Code, http.StatusText(e.Code))
}

// Post sends question as JSON and reads the answer, with retries on network
// errors, 429 and 5xx.
func (r *Remote) Post(ctx context.Context, retry Retry, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	pause := retry.First
	for try := 1; ; try++ {
		again, err := r.post(ctx, body, answer)
		if err == nil || !again || try >= retry.Tries {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause += pause / 2
	}
}

func (r *Remote) post(ctx context.Context, body []byte, answer any) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	tracing.Inject(ctx, req.Header)
	resp, err := r.Client.Do(req)
	if err != nil {
		return ctx.Err() == nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500, &StatusError{resp.StatusCode}
	}
	if answer == nil {
		return false, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return ctx.Err() == nil, err
	}
	if len(raw) > maxAnswer {
		return false, fmt.Errorf("the webhook's answer is longer than %d bytes", maxAnswer)
	}
	return false, json.Unmarshal(raw, answer)
}
