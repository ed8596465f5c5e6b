// Package config turns flags into one validated struct: kube-apiserver's
// flags, by kube-apiserver's names.
package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"xebec.dev/apiserver/internal/audit"
	authn "xebec.dev/apiserver/internal/authn/setup"
	authz "xebec.dev/apiserver/internal/authz/setup"
)

// Config is what the server is told.
type Config struct {
	// DataDir, when set, is where a server that was given nothing keeps its
	// etcd, certificates and keys.
	DataDir string

	BindAddress      net.IP
	AdvertiseAddress net.IP
	SecurePort       int
	ExternalHostname string
	CertDir          string
	TLSCert, TLSKey  string
	TLSMinVersion    string
	TLSCiphers       []string
	// TLSNames are "cert,key" or "cert,key:name,name": pairs for names that
	// clients ask for.
	TLSNames []string
	// Origins are expressions of web origins that browsers may call from.
	Origins []string
	// HSTS are the directives of Strict-Transport-Security.
	HSTS []string
	// GoAway is the chance that a client of HTTP/2 is told to connect anew.
	GoAway float64

	Etcd  Etcd
	Authn authn.Options
	Authz authz.Options
	Audit audit.Options

	ServiceCIDRs                        []net.IPNet
	serviceRange                        string
	NodePorts                           PortRange
	nodePortRange                       string
	EventTTL                            time.Duration
	RequestTimeout                      time.Duration
	MinRequestTimeout                   int
	MaxInFlight                         int
	MaxMutating                         int
	MaxStreams                          uint32
	ShutdownDelay                       time.Duration
	WatchGrace                          time.Duration
	RetryAfter                          bool
	EnablePlugins                       []string
	DisablePlugins                      []string
	AdmissionConfig                     string
	RuntimeConfig                       map[string]string
	Kubelet                             Kubelet
	AllowPrivileged                     bool
	Profiling                           bool
	FeatureGates                        []string
	Emulated                            []string
	TracingConfig                       string
	EgressConfig                        string
	EndpointReconciler                  string
	NotReadySeconds, UnreachableSeconds int64

	LogFormat string
	Verbosity int
	Version   bool

	flags *pflag.FlagSet
}

// Value is a flag as it is set.
type Value struct{ Name, Value string }

// Values lists all flags in order.
func (c *Config) Values() []Value {
	var out []Value
	if c.flags != nil {
		c.flags.VisitAll(func(f *pflag.Flag) { out = append(out, Value{f.Name, f.Value.String()}) })
	}
	return out
}

// Etcd says where the objects are kept.
type Etcd struct {
	Servers            []string
	Prefix             string
	CA, Cert, Key      string
	CompactionInterval time.Duration
	EncryptionConfig   string
	EncryptionReload   bool
}

// Kubelet says how nodes are reached for logs, exec and the like.
type Kubelet struct {
	CA, Cert, Key string
	AddressTypes  []string
	Timeout       time.Duration
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last int }

// Flags registers the flags onto c's fields, with their defaults.
func (c *Config) Flags(f *pflag.FlagSet) {
	c.flags = f
	f.StringVar(&c.DataDir, "data-dir", "", "Directory for everything a server of its own needs: an embedded etcd (unless --etcd-servers is given), certificates, service account keys, and admin.kubeconfig.")
	c.servingFlags(f)
	c.etcdFlags(f)
	c.limitFlags(f)
	c.clusterFlags(f)
	c.Authn.Flags(f)
	c.Authz.Flags(f)
	c.Audit.Flags(f)
	f.StringVar(&c.LogFormat, "logging-format", "text", "Format of the log: text or json.")
	f.IntVarP(&c.Verbosity, "v", "v", 0, "Log verbosity; 4 and above add debug messages.")
	f.StringSliceVar(&c.FeatureGates, "feature-gates", nil, "Pairs of feature=true|false. Unknown features are accepted, for manifests written for other versions.")
	f.StringVar(&c.EgressConfig, "egress-selector-config-file", "", "File with an EgressSelectorConfiguration: the proxies through which nodes, pods and services, and the control plane's webhooks, are reached.")
	f.StringVar(&c.TracingConfig, "tracing-config-file", "", "File with a TracingConfiguration: the collector of OpenTelemetry that is told of requests, and of how many.")
	f.StringSliceVar(&c.Emulated, "emulated-version", nil, "The version whose API is served, kube=MAJOR.MINOR. This server is one version only and refuses any other.")
	accepted(f)
}

func (c *Config) servingFlags(f *pflag.FlagSet) {
	f.IPVar(&c.BindAddress, "bind-address", net.IPv4zero, "Address to listen on.")
	f.IPVar(&c.AdvertiseAddress, "advertise-address", nil, "Address at which members of the cluster reach this server; the default interface's when unset.")
	f.IntVar(&c.SecurePort, "secure-port", 6443, "Port for HTTPS, REST and gRPC alike.")
	f.StringVar(&c.ExternalHostname, "external-hostname", "", "Host name of this server in URLs it hands out.")
	f.StringVar(&c.CertDir, "cert-dir", "", "Directory with apiserver.crt and apiserver.key, used when --tls-cert-file is not given; made when missing. Default: /var/run/kubernetes, or within --data-dir.")
	f.StringVar(&c.TLSCert, "tls-cert-file", "", "Serving certificate, with its intermediates; read again when it changes.")
	f.StringVar(&c.TLSKey, "tls-private-key-file", "", "Key of --tls-cert-file.")
	f.StringVar(&c.TLSMinVersion, "tls-min-version", "", "Lowest TLS version: VersionTLS12 or VersionTLS13.")
	f.StringSliceVar(&c.TLSCiphers, "tls-cipher-suites", nil, "Cipher suites for TLS 1.2; Go's secure ones when unset.")
	f.StringArrayVar(&c.TLSNames, "tls-sni-cert-key", nil, "Another serving certificate and its key: CERT,KEY for the names in the certificate, or CERT,KEY:NAME,*.NAME for these. May be repeated.")
	f.StringSliceVar(&c.Origins, "cors-allowed-origins", nil, "Web origins that browsers may call from, as regular expressions; each must hold on to the beginning of the host with // or ^.")
	f.StringSliceVar(&c.HSTS, "strict-transport-security-directives", nil, "Directives of the header Strict-Transport-Security: max-age=SECONDS, includeSubDomains, preload.")
	f.BoolVar(&c.Profiling, "profiling", true, "Serve /debug/pprof.")
}

func (c *Config) etcdFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.Etcd.Servers, "etcd-servers", nil, "etcd servers, scheme://ip:port. Without them an etcd is embedded, kept in --data-dir.")
	f.StringVar(&c.Etcd.Prefix, "etcd-prefix", "/registry", "Prefix of all keys in etcd.")
	f.StringVar(&c.Etcd.CA, "etcd-cafile", "", "Certificate authority of etcd.")
	f.StringVar(&c.Etcd.Cert, "etcd-certfile", "", "Client certificate for etcd.")
	f.StringVar(&c.Etcd.Key, "etcd-keyfile", "", "Key of --etcd-certfile.")
	f.DurationVar(&c.Etcd.CompactionInterval, "etcd-compaction-interval", 5*time.Minute, "How often old revisions are compacted; 0 leaves that to others.")
	f.StringVar(&c.Etcd.EncryptionConfig, "encryption-provider-config", "", "File with the providers that encrypt values in etcd.")
	f.BoolVar(&c.Etcd.EncryptionReload, "encryption-provider-config-automatic-reload", false, "Read --encryption-provider-config again when it changes.")
}

func (c *Config) limitFlags(f *pflag.FlagSet) {
	f.DurationVar(&c.RequestTimeout, "request-timeout", time.Minute, "Longest time for a request that is not a watch or a stream.")
	f.IntVar(&c.MinRequestTimeout, "min-request-timeout", 1800, "Seconds that a watch lives at least.")
	f.IntVar(&c.MaxInFlight, "max-requests-inflight", 400, "Reading requests in flight at once.")
	f.IntVar(&c.MaxMutating, "max-mutating-requests-inflight", 200, "Writing requests in flight at once.")
	f.Uint32Var(&c.MaxStreams, "http2-max-streams-per-connection", 0, "Requests that a client may have open on a connection; 0 is 250.")
	f.Float64Var(&c.GoAway, "goaway-chance", 0, "Chance that a request over HTTP/2 makes its client connect anew, so that clients spread over servers: 0 to 0.02.")
	f.DurationVar(&c.ShutdownDelay, "shutdown-delay-duration", 0, "How long to go on serving, not ready, after a signal to stop.")
	f.DurationVar(&c.WatchGrace, "shutdown-watch-termination-grace-period", 0, "How long watches may take to end at shutdown; 0 is a second.")
	f.BoolVar(&c.RetryAfter, "shutdown-send-retry-after", false, "After --shutdown-delay-duration, go on listening until what is being served is answered, and answer new requests with 429 and Retry-After.")
	f.DurationVar(&c.EventTTL, "event-ttl", time.Hour, "How long events are kept.")
}

func (c *Config) clusterFlags(f *pflag.FlagSet) {
	f.StringVar(&c.serviceRange, "service-cluster-ip-range", "10.0.0.0/24", "CIDR of Service addresses; two of different families, separated by a comma, for dual stack.")
	f.StringVar(&c.nodePortRange, "service-node-port-range", "30000-32767", "Ports for NodePort Services.")
	f.StringSliceVar(&c.EnablePlugins, "enable-admission-plugins", nil, "Admission plugins to add to the default ones.")
	f.StringSliceVar(&c.DisablePlugins, "disable-admission-plugins", nil, "Default admission plugins to leave out.")
	f.StringVar(&c.AdmissionConfig, "admission-control-config-file", "", "File with the configuration of admission plugins.")
	f.StringToStringVar(&c.RuntimeConfig, "runtime-config", nil, "API versions to turn on or off: GROUP/VERSION=true|false, GROUP/VERSION/RESOURCE=…, api/all, api/beta, api/alpha.")
	f.StringVar(&c.Kubelet.CA, "kubelet-certificate-authority", "", "Certificate authority of kubelets' serving certificates.")
	f.StringVar(&c.Kubelet.Cert, "kubelet-client-certificate", "", "Client certificate for kubelets.")
	f.StringVar(&c.Kubelet.Key, "kubelet-client-key", "", "Key of --kubelet-client-certificate.")
	f.StringSliceVar(&c.Kubelet.AddressTypes, "kubelet-preferred-address-types", []string{"Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"}, "Node address types in order of preference.")
	f.DurationVar(&c.Kubelet.Timeout, "kubelet-timeout", 5*time.Second, "Timeout for connections to kubelets.")
	f.BoolVar(&c.AllowPrivileged, "allow-privileged", true, "Allow privileged containers.")
	f.StringVar(&c.EndpointReconciler, "endpoint-reconciler-type", "lease", "How the kubernetes Service's endpoints are kept: lease or none.")
	f.Int64Var(&c.NotReadySeconds, "default-not-ready-toleration-seconds", 300, "tolerationSeconds of the not-ready toleration that pods get.")
	f.Int64Var(&c.UnreachableSeconds, "default-unreachable-toleration-seconds", 300, "tolerationSeconds of the unreachable toleration that pods get.")
}

// Complete checks what was given and fills in the rest.
func (c *Config) Complete() error {
	var err error
	if c.ServiceCIDRs, err = parseCIDRs(c.serviceRange); err != nil {
		return fmt.Errorf("--service-cluster-ip-range: %w", err)
	}
	if c.NodePorts, err = parsePorts(c.nodePortRange); err != nil {
		return fmt.Errorf("--service-node-port-range: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("--tls-cert-file and --tls-private-key-file go together")
	}
	if len(c.Etcd.Servers) == 0 && c.DataDir == "" {
		return fmt.Errorf("give --data-dir for a server of its own, or --etcd-servers for an etcd cluster")
	}
	if err := checkEmulated(c.Emulated); err != nil {
		return err
	}
	if c.GoAway < 0 || c.GoAway > 0.02 {
		return fmt.Errorf("--goaway-chance: %v is not between 0 and 0.02", c.GoAway)
	}
	if c.SecurePort < 0 || c.SecurePort > 65535 {
		return fmt.Errorf("--secure-port: %d is not a port", c.SecurePort)
	}
	if c.CertDir == "" {
		c.CertDir = "/var/run/kubernetes"
		if c.DataDir != "" {
			c.CertDir = filepath.Join(c.DataDir, "pki")
		}
	}
	if c.AdvertiseAddress == nil {
		c.AdvertiseAddress = defaultAddress(c.BindAddress)
	}
	return nil
}

func parseCIDRs(s string) ([]net.IPNet, error) {
	var out []net.IPNet
	for _, part := range strings.Split(s, ",") {
		_, n, err := net.ParseCIDR(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is not a CIDR such as 10.96.0.0/16", part)
		}
		out = append(out, *n)
	}
	if len(out) > 2 || len(out) == 2 && (out[0].IP.To4() == nil) == (out[1].IP.To4() == nil) {
		return nil, fmt.Errorf("%q must be one CIDR, or one of each family", s)
	}
	return out, nil
}

func parsePorts(s string) (PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || a < 1 || b > 65535 || a > b {
		return PortRange{}, fmt.Errorf("%q is not a range such as 30000-32767", s)
	}
	return PortRange{a, b}, nil
}

// defaultAddress is the bind address if others can reach it, else the first
// global address of the machine, else loopback.
func defaultAddress(bind net.IP) net.IP {
	if bind != nil && !bind.IsUnspecified() && !bind.IsLoopback() {
		return bind
	}
	addrs, _ := net.InterfaceAddrs() // none is the same as an error here
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP
		}
	}
	return net.IPv4(127, 0, 0, 1)
}

// Hostname is this machine's name, "localhost" when it has none.
func Hostname() string {
	if h, err := os.Hostname(); err == nil {
		return h
	}
	return "localhost"
}
