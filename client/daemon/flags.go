package daemon

import (
	"net"
	"time"

	"github.com/spf13/pflag"

	"xebec.dev/client"
	"xebec.dev/client/election"
)

// Defaults of the common flags that differ between components.
type Defaults struct {
	// SecurePort of HTTPS, 10259 for the scheduler; 0 leaves the flag out.
	SecurePort int
	// LeaseName of leader election; empty leaves its flags out.
	LeaseName string
	// LeaderElect is the default of --leader-elect.
	LeaderElect bool
}

// Flags are those that all components have.
type Flags struct {
	Version string
	Config  string

	Kubeconfig string
	Master     string

	BindAddress  net.IP
	SecurePort   int
	CertDir      string
	TLSCert      string
	TLSKey       string
	TLSMin       string
	TLSCiphers   []string
	TLSSNI       []string
	ClientCA     string
	AuthnConfig  string
	AuthzConfig  string
	AlwaysAllow  []string
	Profiling    bool
	Contention   bool
	Verbosity    int
	LogFormat    string
	LogFrequency time.Duration

	LeaderElect    bool
	LeaseNamespace string
	LeaseName      string
	LeaseDuration  time.Duration
	RenewDeadline  time.Duration
	RetryPeriod    time.Duration
}

// ignoredCommon are accepted everywhere and do nothing.
var ignoredCommon = map[string]string{
	"leader-elect-resource-lock":                   "the lock is always a Lease",
	"kube-api-content-type":                        "the protocol is gRPC with protobuf",
	"kube-api-qps":                                 "the API server limits its clients",
	"kube-api-burst":                               "the API server limits its clients",
	"vmodule":                                      "logs have one level",
	"log-flush-frequency":                          "logs are not buffered",
	"log-text-split-stream":                        "logs go to standard error",
	"log-text-info-buffer-size":                    "logs are not buffered",
	"log-json-split-stream":                        "logs go to standard error",
	"log-json-info-buffer-size":                    "logs are not buffered",
	"show-hidden-metrics-for-version":              "no metrics are hidden",
	"disabled-metrics":                             "metrics can't be disabled",
	"allow-metric-labels":                          "labels can't be limited",
	"allow-metric-labels-manifest":                 "labels can't be limited",
	"emulated-version":                             "only the own version is emulated",
	"min-compatibility-version":                    "only the own version is emulated",
	"http2-max-streams-per-connection":             "Go's default holds",
	"permit-address-sharing":                       "addresses are not shared",
	"permit-port-sharing":                          "ports are not shared",
	"requestheader-client-ca-file":                 "requests come without a front proxy",
	"requestheader-allowed-names":                  "requests come without a front proxy",
	"requestheader-extra-headers-prefix":           "requests come without a front proxy",
	"requestheader-group-headers":                  "requests come without a front proxy",
	"requestheader-username-headers":               "requests come without a front proxy",
	"requestheader-uid-headers":                    "requests come without a front proxy",
	"authentication-skip-lookup":                   "nothing is looked up",
	"authentication-tolerate-lookup-failure":       "nothing is looked up",
	"authentication-token-webhook-cache-ttl":       "answers are kept for ten seconds",
	"authorization-webhook-cache-authorized-ttl":   "answers are kept for ten seconds",
	"authorization-webhook-cache-unauthorized-ttl": "answers are kept for ten seconds",
	"tls-curve-preferences":                        "Go's default holds",
}

func (f *Flags) add(fs *pflag.FlagSet, p *Program) {
	d := &p.Defaults
	fs.StringVar(&f.Version, "version", "", "--version, --version=raw prints version information and quits.")
	fs.Lookup("version").NoOptDefVal = "true"
	fs.StringVar(&f.Config, "config", "", "The path to the configuration file.")
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "Path to kubeconfig file with authorization and master location information.")
	fs.StringVar(&f.Master, "master", "", "The address of the Kubernetes API server (overrides any value in kubeconfig).")
	fs.BoolVar(&f.Profiling, "profiling", true, "Enable profiling via web interface host:port/debug/pprof/.")
	fs.BoolVar(&f.Contention, "contention-profiling", true, "Enable block profiling, if profiling is enabled.")
	fs.IntVarP(&f.Verbosity, "v", "v", 0, "Number for the log level verbosity; 4 and above log details.")
	fs.StringVar(&f.LogFormat, "logging-format", "text", "Sets the log format: text or json.")
	if d.SecurePort != 0 {
		f.addServing(fs, d)
	}
	if d.LeaseName != "" {
		f.addElection(fs, d)
	}
	for name := range ignoredCommon {
		fs.Var(&ignored{}, name, "Accepted for compatibility and without effect: "+ignoredCommon[name]+".")
		fs.Lookup(name).NoOptDefVal = "true"
	}
}

func (f *Flags) addServing(fs *pflag.FlagSet, d *Defaults) {
	fs.IPVar(&f.BindAddress, "bind-address", net.IPv4zero, "The IP address on which to listen for the --secure-port port.")
	fs.IntVar(&f.SecurePort, "secure-port", d.SecurePort, "The port on which to serve HTTPS with authentication and authorization. If 0, don't serve HTTPS at all.")
	fs.StringVar(&f.CertDir, "cert-dir", "", "The directory where the TLS certs are located. Without one, and without --tls-cert-file, a self-signed certificate is made in memory.")
	fs.StringVar(&f.TLSCert, "tls-cert-file", "", "File containing the default x509 Certificate for HTTPS.")
	fs.StringVar(&f.TLSKey, "tls-private-key-file", "", "File containing the default x509 private key matching --tls-cert-file.")
	fs.StringVar(&f.TLSMin, "tls-min-version", "", "Minimum TLS version supported: VersionTLS12 or VersionTLS13.")
	fs.StringSliceVar(&f.TLSCiphers, "tls-cipher-suites", nil, "Comma-separated list of cipher suites for the server.")
	fs.StringArrayVar(&f.TLSSNI, "tls-sni-cert-key", nil, "A pair of x509 certificate and private key file paths, as CERT,KEY[:DOMAINS].")
	fs.StringVar(&f.ClientCA, "client-ca-file", "", "Client certificates signed by one of the authorities in this file are authenticated with their CommonName.")
	fs.StringVar(&f.AuthnConfig, "authentication-kubeconfig", "", "kubeconfig of the API server that reviews tokens.")
	fs.StringVar(&f.AuthzConfig, "authorization-kubeconfig", "", "kubeconfig of the API server that reviews access.")
	fs.StringSliceVar(&f.AlwaysAllow, "authorization-always-allow-paths", []string{"/healthz", "/readyz", "/livez"}, "A list of HTTP paths to skip during authorization.")
}

func (f *Flags) addElection(fs *pflag.FlagSet, d *Defaults) {
	fs.BoolVar(&f.LeaderElect, "leader-elect", d.LeaderElect, "Start a leader election client and gain leadership before executing the main loop.")
	fs.StringVar(&f.LeaseName, "leader-elect-resource-name", d.LeaseName, "The name of resource object that is used for locking during leader election.")
	fs.StringVar(&f.LeaseNamespace, "leader-elect-resource-namespace", "kube-system", "The namespace of resource object that is used for locking during leader election.")
	fs.DurationVar(&f.LeaseDuration, "leader-elect-lease-duration", election.DefaultLeaseDuration, "The duration that non-leader candidates will wait after observing a leadership renewal until attempting to acquire leadership.")
	fs.DurationVar(&f.RenewDeadline, "leader-elect-renew-deadline", election.DefaultRenewDeadline, "The interval between attempts by the acting master to renew a leadership slot before it stops leading.")
	fs.DurationVar(&f.RetryPeriod, "leader-elect-retry-period", election.DefaultRetryPeriod, "The duration the clients should wait between attempting acquisition and renewal of a leadership.")
}

// API is where the API server is.
func (f *Flags) API() client.Config { return client.Config{Kubeconfig: f.Kubeconfig, Server: f.Master} }

// Election are the options of leader election.
func (f *Flags) Election() election.Options {
	return election.Options{
		Namespace: f.LeaseNamespace, Name: f.LeaseName,
		LeaseDuration: f.LeaseDuration, RenewDeadline: f.RenewDeadline, RetryPeriod: f.RetryPeriod,
	}
}
