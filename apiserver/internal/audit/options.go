package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/kubeconfig"
)

// Modes of a backend.
const (
	modeBatch          = "batch"
	modeBlocking       = "blocking"
	modeBlockingStrict = "blocking-strict"
)

// Options are the flags.
type Options struct {
	PolicyFile string
	Log        LogOptions
	Webhook    WebhookOptions
}

// LogOptions say how events are written to a file.
type LogOptions struct {
	Path                        string
	MaxAge, MaxBackups, MaxSize int
	Compress                    bool
	Format                      string
	Common
}

// WebhookOptions say how events are posted.
type WebhookOptions struct {
	ConfigFile     string
	InitialBackoff time.Duration
	// Dial connects to the webhook; nil is directly.
	Dial egress.Dial
	Common
}

// Common is what both backends have.
type Common struct {
	Mode     string
	Version  string
	Batch    BatchOptions
	Truncate struct {
		Enabled            bool
		MaxBatch, MaxEvent int
	}
}

// Flags registers the flags onto o's fields, with their defaults.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.StringVar(&o.PolicyFile, "audit-policy-file", "", "File with the audit Policy: what is recorded. Nothing is without it.")
	l := &o.Log
	f.StringVar(&l.Path, "audit-log-path", "", "File that events are written to; '-' is standard output.")
	f.IntVar(&l.MaxAge, "audit-log-maxage", 366, "Days to keep old log files.")
	f.IntVar(&l.MaxBackups, "audit-log-maxbackup", 100, "Number of old log files to keep; 0 is all.")
	f.IntVar(&l.MaxSize, "audit-log-maxsize", 100, "Megabytes of a log file before it is put aside; 0 is 100.")
	f.BoolVar(&l.Compress, "audit-log-compress", false, "Compress old log files with gzip.")
	f.StringVar(&l.Format, "audit-log-format", "json", "Format of the log: json or legacy.")
	l.Common.flags(f, "audit-log", modeBlocking, BatchOptions{BufferSize: 10000, MaxSize: 1})
	w := &o.Webhook
	f.StringVar(&w.ConfigFile, "audit-webhook-config-file", "", "Kubeconfig of the service that events are posted to.")
	f.DurationVar(&w.InitialBackoff, "audit-webhook-initial-backoff", 10*time.Second, "Pause before the first repetition of a failed post.")
	w.Common.flags(f, "audit-webhook", modeBatch, BatchOptions{BufferSize: 10000, MaxSize: 400, MaxWait: 30 * time.Second, Throttle: true, QPS: 10, Burst: 15})
}

func (c *Common) flags(f *pflag.FlagSet, prefix, mode string, b BatchOptions) {
	f.StringVar(&c.Mode, prefix+"-mode", mode, "How events are sent: batch gathers them in the background; blocking makes each request wait; blocking-strict also fails requests that cannot be recorded.")
	f.StringVar(&c.Version, prefix+"-version", "audit.k8s.io/v1", "API version of the events.")
	f.IntVar(&c.Batch.BufferSize, prefix+"-batch-buffer-size", b.BufferSize, "Events that wait to be sent at most; more are lost. For the mode batch.")
	f.IntVar(&c.Batch.MaxSize, prefix+"-batch-max-size", b.MaxSize, "Events sent at once at most. For the mode batch.")
	f.DurationVar(&c.Batch.MaxWait, prefix+"-batch-max-wait", b.MaxWait, "How long to wait for a batch to fill. For the mode batch.")
	f.BoolVar(&c.Batch.Throttle, prefix+"-batch-throttle-enable", b.Throttle, "Limit the batches per second. For the mode batch.")
	f.Float32Var(&c.Batch.QPS, prefix+"-batch-throttle-qps", b.QPS, "Batches per second on average. For the mode batch.")
	f.IntVar(&c.Batch.Burst, prefix+"-batch-throttle-burst", b.Burst, "Batches sent at one moment at most. For the mode batch.")
	f.BoolVar(&c.Truncate.Enabled, prefix+"-truncate-enabled", false, "Leave objects out of events that are too large.")
	f.IntVar(&c.Truncate.MaxBatch, prefix+"-truncate-max-batch-size", 10<<20, "Bytes of a batch.")
	f.IntVar(&c.Truncate.MaxEvent, prefix+"-truncate-max-event-size", 100<<10, "Bytes of an event.")
}

func (c *Common) validate(prefix string) error {
	if c.Mode != modeBatch && c.Mode != modeBlocking && c.Mode != modeBlockingStrict {
		return fmt.Errorf("invalid %s-mode %q, allowed modes are %s, %s, %s", prefix, c.Mode, modeBatch, modeBlocking, modeBlockingStrict)
	}
	if c.Version != "audit.k8s.io/v1" {
		return fmt.Errorf("invalid %s-version %q, allowed is audit.k8s.io/v1", prefix, c.Version)
	}
	if b := &c.Batch; c.Mode == modeBatch {
		switch {
		case b.BufferSize <= 0:
			return fmt.Errorf("invalid %s-batch-buffer-size %d, must be a positive number", prefix, b.BufferSize)
		case b.MaxSize <= 0:
			return fmt.Errorf("invalid %s-batch-max-size %d, must be a positive number", prefix, b.MaxSize)
		case b.Throttle && (b.QPS <= 0 || b.Burst <= 0):
			return fmt.Errorf("invalid %s-batch-throttle-qps %v and -burst %d, must be positive numbers", prefix, b.QPS, b.Burst)
		}
	}
	if t := &c.Truncate; t.Enabled && (t.MaxEvent <= 0 || t.MaxBatch < t.MaxEvent) {
		return fmt.Errorf("invalid %s-truncate-max-event-size %d: must be positive and at most the batch's %d", prefix, t.MaxEvent, t.MaxBatch)
	}
	return nil
}

// Build makes the auditor and its backend, which must be run. Both are nil
// when nothing is to be recorded.
func Build(o *Options, onError func(error)) (*Auditor, Backend, error) {
	if err := errors.Join(o.Log.validate("--audit-log"), o.Webhook.validate("--audit-webhook")); err != nil {
		return nil, nil, err
	}
	if onError == nil {
		onError = func(error) {}
	}
	if o.PolicyFile == "" {
		if o.Log.Path != "" || o.Webhook.ConfigFile != "" {
			onError(errors.New("no --audit-policy-file is given: nothing is recorded"))
		}
		return nil, nil, nil
	}
	content, err := os.ReadFile(o.PolicyFile)
	if err != nil {
		return nil, nil, err
	}
	policy, err := ParsePolicy(content)
	if err != nil {
		return nil, nil, fmt.Errorf("audit policy %s: %w", o.PolicyFile, err)
	}
	var backends Union
	if o.Log.Path != "" {
		b, err := o.Log.backend(onError)
		if err != nil {
			return nil, nil, err
		}
		backends = append(backends, b)
	}
	if o.Webhook.ConfigFile != "" {
		remote, err := kubeconfig.Load(o.Webhook.ConfigFile, o.Webhook.Dial)
		if err != nil {
			return nil, nil, err
		}
		to := &hook{remote, kubeconfig.Retry{Tries: 5, First: o.Webhook.InitialBackoff}}
		backends = append(backends, o.Webhook.wrap(to, 10, onError))
	}
	if len(backends) == 0 {
		return nil, nil, nil
	}
	return New(policy, backends), backends, nil
}

func (o *LogOptions) backend(onError func(error)) (Backend, error) {
	if o.Format != "json" && o.Format != "legacy" {
		return nil, fmt.Errorf("invalid audit log format %s, allowed formats are legacy,json", o.Format)
	}
	if o.MaxAge < 0 || o.MaxBackups < 0 || o.MaxSize < 0 {
		return nil, errors.New("--audit-log-maxage, -maxbackup and -maxsize can't be negative numbers")
	}
	to := &lines{format: o.Format, file: os.Stdout}
	if o.Path != "-" {
		size := int64(o.MaxSize)
		if size == 0 {
			size = 100
		}
		r := &rotating{
			path: o.Path, maxBytes: size << 20, maxAge: time.Duration(o.MaxAge) * 24 * time.Hour, maxBackups: o.MaxBackups,
			compress: o.Compress, now: time.Now,
		}
		// A path that cannot be written should be found at start.
		if err := r.open(); err != nil {
			return nil, fmt.Errorf("--audit-log-path: %w", err)
		}
		to.file = r
	}
	return o.wrap(to, 1, onError), nil
}

func (c *Common) wrap(to sink, senders int, onError func(error)) Backend {
	if c.Truncate.Enabled {
		to = &truncating{to: to, maxEvent: c.Truncate.MaxEvent, maxBatch: c.Truncate.MaxBatch}
	}
	if c.Mode == modeBatch {
		return newBatching(to, c.Batch, senders, onError)
	}
	return &blocking{to: to, strict: c.Mode == modeBlockingStrict, onError: onError}
}
