package config

import "github.com/spf13/pflag"

// noEffect are kube-apiserver flags that are accepted so that manifests and
// units carry over, but change nothing here. The value is the reason shown.
var noEffect = map[string]string{
	"apiserver-count":                             "the lease reconciler needs no count",
	"storage-backend":                             "storage is etcd3",
	"storage-media-type":                          "built-in kinds are stored as protobuf",
	"watch-cache":                                 "reads always come from the cache",
	"watch-cache-sizes":                           "the cache sizes itself",
	"delete-collection-workers":                   "collections are deleted in order",
	"etcd-count-metric-poll-period":               "counts are exact",
	"etcd-db-metric-poll-interval":                "see etcd's own metrics",
	"etcd-healthcheck-timeout":                    "etcd is watched continuously",
	"etcd-readycheck-timeout":                     "etcd is watched continuously",
	"etcd-servers-overrides":                      "all resources share one etcd",
	"lease-reuse-duration-seconds":                "leases are reused for a minute",
	"enable-garbage-collector":                    "finalizers of garbage collection are always handled",
	"disable-http2-serving":                       "components need HTTP/2",
	"permit-address-sharing":                      "not shared",
	"permit-port-sharing":                         "not shared",
	"tls-curve-preferences":                       "Go's defaults",
	"livez-grace-period":                          "liveness does not wait for start-up hooks",
	"storage-initialization-timeout":              "the server retries until etcd answers",
	"emulation-forward-compatible":                "the level is v1.37",
	"min-compatibility-version":                   "the level is v1.37",
	"runtime-config-emulation-forward-compatible": "the level is v1.37",
	"contention-profiling":                        "profiles are taken on demand",
	"debug-socket-path":                           "profiles are served on the secure port",
	"enable-priority-and-fairness":                "limits are by --max-requests-inflight",
	"allow-metric-labels":                         "labels are fixed",
	"allow-metric-labels-manifest":                "labels are fixed",
	"disabled-metrics":                            "all metrics are served",
	"show-hidden-metrics-for-version":             "no metric is hidden",
	"log-flush-frequency":                         "the log is not buffered",
	"log-json-info-buffer-size":                   "the log is not buffered",
	"log-json-split-stream":                       "the log goes to standard error",
	"log-text-info-buffer-size":                   "the log is not buffered",
	"log-text-split-stream":                       "the log goes to standard error",
	"vmodule":                                     "use --v",
	"aggregator-reject-forwarding-redirect":       "redirects are never followed",
	"coordinated-leadership-lease-duration":       "leaders elect themselves",
	"coordinated-leadership-renew-deadline":       "leaders elect themselves",
	"coordinated-leadership-retry-period":         "leaders elect themselves",
	"enable-aggregator-routing":                   "Service addresses are used",
	"enable-logs-handler":                         "/logs is not served",
	"kubernetes-service-node-port":                "the kubernetes Service is a ClusterIP",
	"max-connection-bytes-per-sec":                "not limited",
	"peer-advertise-ip":                           "servers need no peers",
	"peer-advertise-port":                         "servers need no peers",
	"peer-ca-file":                                "servers need no peers",
	"proxy-client-cert-file":                      "for aggregated APIs",
	"proxy-client-key-file":                       "for aggregated APIs",
	"admission-control":                           "use --enable-admission-plugins",
	"unsupported-kube-api-over-localhost":         "not served",
}

// booleans may stand without a value.
var booleans = map[string]bool{
	"watch-cache": true, "enable-garbage-collector": true, "disable-http2-serving": true, "permit-address-sharing": true,
	"permit-port-sharing": true, "emulation-forward-compatible": true,
	"runtime-config-emulation-forward-compatible": true, "contention-profiling": true, "enable-priority-and-fairness": true,
	"log-json-split-stream": true, "log-text-split-stream": true, "aggregator-reject-forwarding-redirect": true,
	"enable-aggregator-routing": true, "enable-logs-handler": true,
	"unsupported-kube-api-over-localhost": true,
}

// accepted registers the flags without effect that no other flag claims.
func accepted(f *pflag.FlagSet) {
	for name, reason := range noEffect {
		if f.Lookup(name) != nil {
			continue
		}
		f.Var(&ignored{}, name, "Accepted and without effect: "+reason+".")
		if booleans[name] {
			f.Lookup(name).NoOptDefVal = "true"
		}
	}
}

// Ignored lists the flags given that have no effect, with the reason.
func Ignored(f *pflag.FlagSet) map[string]string {
	out := map[string]string{}
	f.Visit(func(fl *pflag.Flag) {
		if _, ok := fl.Value.(*ignored); ok {
			out[fl.Name] = noEffect[fl.Name]
		}
	})
	return out
}

type ignored struct{ text string }

func (i *ignored) String() string     { return i.text }
func (i *ignored) Set(s string) error { i.text = s; return nil }
func (i *ignored) Type() string       { return "string" }
