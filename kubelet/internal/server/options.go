package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
)

// Options of the server.
type Options struct {
	// Address is host:port of the HTTPS endpoint; "" serves none.
	Address string
	// ReadOnly is host:port of the plain endpoint with statistics; "" (the
	// default) serves none.
	ReadOnly string
	// Health is host:port of the plain /healthz; "" serves none.
	Health string
	// TLS has the certificate, and what of TLS the configuration narrows.
	TLS *tls.Config

	// Node is this node's name, which access is reviewed for.
	Node string
	// ClientCA is the file of the authorities of client certificates.
	ClientCA string
	// Anonymous lets requests without credentials be reviewed as
	// system:anonymous.
	Anonymous bool
	// Tokens has bearer tokens reviewed by the API server.
	Tokens bool
	// AlwaysAllow lets every user do everything (authorization.mode).
	AlwaysAllow bool
	// API reviews tokens and access; without it only system:masters may.
	API *client.Client
	// TokenTTL, AllowTTL and DenyTTL are how long answers hold; 0 is two
	// minutes, five minutes and thirty seconds.
	TokenTTL, AllowTTL, DenyTTL time.Duration

	// Served is told of each request once it begins, and gives what to call
	// once it has ended; it may be nil.
	Served func(method, path string, long bool) (ended func())

	// Healthz answers /healthz with its checks.
	Healthz http.Handler
	// Configz, Flagz and Statusz answer those paths; nil ones are not served.
	Configz, Flagz, Statusz http.Handler
	// Metrics are /metrics, Probes /metrics/probes.
	Metrics, Probes prometheus.Gatherer
	// Stats answers /stats/summary, /metrics/cadvisor and /metrics/resource.
	Stats Statistics
	// Checkpoint writes a checkpoint of a container and gives its path; nil
	// refuses.
	Checkpoint func(ctx context.Context, pod *corev1.Pod, container string, timeout time.Duration) (path string, err error)

	// LogDir is what /logs/ shows; "" disables it. LogQuery lets it ask the
	// journal too.
	LogDir   string
	LogQuery bool
	// NoDebugging turns off exec, attach, port-forward, logs and profiles
	// (enableDebuggingHandlers: false).
	NoDebugging bool
	// Profiling serves /debug/pprof.
	Profiling bool
	// NoFlags says so at /debug/flags/v (enableDebugFlagsHandler: false).
	NoFlags bool
	// IdleTimeout ends exec, attach and port-forward connections on which
	// nothing happens; 0 is four hours.
	IdleTimeout time.Duration
	Log         *zap.Logger
}

// Statistics is implemented by *stats.Collector.
type Statistics interface {
	// WriteSummary gives the object of /stats/summary.
	SummaryObject(ctx context.Context, cpuAndMemoryOnly bool) (any, error)
	Cadvisor() prometheus.Gatherer
	Resource() prometheus.Gatherer
}
