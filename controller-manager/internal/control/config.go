package control

import (
	"time"

	"github.com/spf13/pflag"
)

// Config are the settings of all controllers, as kube-controller-manager's
// flags give them.
type Config struct {
	Controllers         []string
	ServiceAccountCreds bool
	ClusterName         string

	RootCAFile            string
	ServiceAccountKeyFile string

	SigningCert, SigningKey                             string
	KubeletServingCert, KubeletServingKey               string
	KubeletClientCert, KubeletClientKey                 string
	APIServerClientCert, APIServerClientKey             string
	LegacyUnknownCert, LegacyUnknownKey                 string
	SigningDuration                                     time.Duration
	ClusterCIDR, ServiceCIDR                            string
	AllocateNodeCIDRs                                   bool
	CIDRAllocator                                       string
	NodeMaskSize, NodeMaskSizeIPv4, NodeMaskSizeIPv6    int
	NodeMonitorPeriod, NodeMonitorGrace, NodeStartGrace time.Duration
	NodeEvictionRate, SecondaryEvictionRate             float32
	LargeClusterSize                                    int32
	UnhealthyZoneThreshold                              float32
	TerminatedPodThreshold                              int32
	QuotaSyncPeriod                                     time.Duration
	LegacyTokenCleanUpPeriod                            time.Duration
	MaxEndpointsPerSlice, MirroringMaxEndpoints         int32
	EnableGC                                            bool
	ExternalCloudProvider                               string
	DynamicProvisioning                                 bool
	NoForceDetach                                       bool
	Workers                                             map[string]*int
}

// workers are the flags --concurrent-NAME-syncs and their defaults.
var workers = map[string]struct {
	n    int
	what string
}{
	"deployment":           {5, "deployment objects"},
	"replicaset":           {5, "replica sets"},
	"rc":                   {5, "replication controllers"},
	"statefulset":          {5, "statefulset objects"},
	"daemonset":            {2, "daemonset objects"},
	"job":                  {5, "job objects"},
	"cron-job":             {5, "cron job objects"},
	"endpoint":             {5, "endpoints"},
	"service-endpoint":     {5, "services whose endpoint slices are kept"},
	"namespace":            {10, "namespace objects"},
	"gc":                   {20, "garbage collector workers"},
	"serviceaccount-token": {5, "service account token objects"},
	"resource-quota":       {5, "resource quotas"},
	"ttl-after-finished":   {5, "ttl-after-finished-controller workers"},
	"ephemeralvolume":      {5, "ephemeral volumes"},
}

// WorkersOf is the number of workers of --concurrent-NAME-syncs.
func (c *Config) WorkersOf(name string) int {
	if n := c.Workers[name]; n != nil && *n > 0 {
		return *n
	}
	return max(workers[name].n, 1)
}

// AddFlags adds the flags.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Controllers, "controllers", []string{"*"}, "A list of controllers to enable. '*' enables all on-by-default controllers, 'foo' enables the controller named 'foo', '-foo' disables the controller named 'foo'.")
	fs.BoolVar(&c.ServiceAccountCreds, "use-service-account-credentials", false, "If true, use individual service account credentials for each controller.")
	fs.StringVar(&c.ClusterName, "cluster-name", "kubernetes", "The instance prefix for the cluster.")
	fs.StringVar(&c.RootCAFile, "root-ca-file", "", "If set, this root certificate authority will be included in service account's token secret and published in every namespace. This must be a valid PEM-encoded CA bundle.")
	fs.StringVar(&c.ServiceAccountKeyFile, "service-account-private-key-file", "", "Filename containing a PEM-encoded private RSA or ECDSA key used to sign service account tokens.")
	c.addSigning(fs)
	c.addNodes(fs)
	fs.Int32Var(&c.TerminatedPodThreshold, "terminated-pod-gc-threshold", 12500, "Number of terminated pods that can exist before the terminated pod garbage collector starts deleting terminated pods. If <= 0, the terminated pod garbage collector is disabled.")
	fs.DurationVar(&c.QuotaSyncPeriod, "resource-quota-sync-period", 5*time.Minute, "The period for syncing quota usage status in the system")
	fs.BoolVar(&c.DynamicProvisioning, "enable-dynamic-provisioning", true, "Enable dynamic provisioning for environments that support it.")
	fs.BoolVar(&c.NoForceDetach, "disable-force-detach-on-timeout", false, "Prevent force detaching volumes based on maximum unmount time and node status. If this flag is set to true, the non-graceful node shutdown feature must be used to recover from node failure.")
	fs.DurationVar(&c.LegacyTokenCleanUpPeriod, "legacy-service-account-token-clean-up-period", 365*24*time.Hour, "The period of time since the last usage of an legacy service account token before it can be deleted.")
	fs.Int32Var(&c.MaxEndpointsPerSlice, "max-endpoints-per-slice", 100, "The maximum number of endpoints that will be added to an EndpointSlice.")
	fs.Int32Var(&c.MirroringMaxEndpoints, "mirroring-max-endpoints-per-subset", 1000, "The maximum number of endpoints that will be added to an EndpointSlice by the EndpointSliceMirroring controller.")
	fs.BoolVar(&c.EnableGC, "enable-garbage-collector", true, "Enables the generic garbage collector. MUST be synced with the corresponding flag of the kube-apiserver.")
	fs.StringVar(&c.ExternalCloudProvider, "cloud-provider", "", "The provider for cloud services: external, or empty for none.")
	c.Workers = map[string]*int{}
	for name, w := range workers {
		n := new(int)
		c.Workers[name] = n
		fs.IntVar(n, "concurrent-"+name+"-syncs", w.n, "The number of "+w.what+" that are allowed to sync concurrently.")
	}
}

func (c *Config) addSigning(fs *pflag.FlagSet) {
	fs.StringVar(&c.SigningCert, "cluster-signing-cert-file", "", "Filename containing a PEM-encoded X509 CA certificate used to issue cluster-scoped certificates.")
	fs.StringVar(&c.SigningKey, "cluster-signing-key-file", "", "Filename containing a PEM-encoded RSA or ECDSA private key used to sign cluster-scoped certificates.")
	fs.DurationVar(&c.SigningDuration, "cluster-signing-duration", 365*24*time.Hour, "The max length of duration signed certificates will be given. Individual CSRs may request shorter certs by setting spec.expirationSeconds.")
	for _, s := range []struct {
		name      string
		cert, key *string
	}{
		{"kubelet-serving", &c.KubeletServingCert, &c.KubeletServingKey},
		{"kubelet-client", &c.KubeletClientCert, &c.KubeletClientKey},
		{"kube-apiserver-client", &c.APIServerClientCert, &c.APIServerClientKey},
		{"legacy-unknown", &c.LegacyUnknownCert, &c.LegacyUnknownKey},
	} {
		fs.StringVar(s.cert, "cluster-signing-"+s.name+"-cert-file", "", "Filename containing a PEM-encoded X509 CA certificate used to issue certificates for the kubernetes.io/"+s.name+" signer.")
		fs.StringVar(s.key, "cluster-signing-"+s.name+"-key-file", "", "Filename containing a PEM-encoded RSA or ECDSA private key used to sign certificates for the kubernetes.io/"+s.name+" signer.")
	}
}

func (c *Config) addNodes(fs *pflag.FlagSet) {
	fs.StringVar(&c.ClusterCIDR, "cluster-cidr", "", "CIDR Range for Pods in cluster. Only used when --allocate-node-cidrs=true; if false, this option will be ignored.")
	fs.StringVar(&c.ServiceCIDR, "service-cluster-ip-range", "", "CIDR Range for Services in cluster. Only used when --allocate-node-cidrs=true; if false, this option will be ignored.")
	fs.BoolVar(&c.AllocateNodeCIDRs, "allocate-node-cidrs", false, "Should CIDRs for Pods be allocated and set on the cloud provider. Requires --cluster-cidr.")
	fs.StringVar(&c.CIDRAllocator, "cidr-allocator-type", "RangeAllocator", "Type of CIDR allocator to use. Requires --allocate-node-cidrs=true.")
	fs.IntVar(&c.NodeMaskSize, "node-cidr-mask-size", 0, "Mask size for node cidr in cluster. Default is 24 for IPv4 and 64 for IPv6.")
	fs.IntVar(&c.NodeMaskSizeIPv4, "node-cidr-mask-size-ipv4", 0, "Mask size for IPv4 node cidr in dual-stack cluster. Default is 24.")
	fs.IntVar(&c.NodeMaskSizeIPv6, "node-cidr-mask-size-ipv6", 0, "Mask size for IPv6 node cidr in dual-stack cluster. Default is 64.")
	fs.DurationVar(&c.NodeMonitorPeriod, "node-monitor-period", 5*time.Second, "The period for syncing NodeStatus in cloud-node-lifecycle-controller.")
	fs.DurationVar(&c.NodeMonitorGrace, "node-monitor-grace-period", 50*time.Second, "Amount of time which we allow running Node to be unresponsive before marking it unhealthy.")
	fs.DurationVar(&c.NodeStartGrace, "node-startup-grace-period", 60*time.Second, "Amount of time which we allow starting Node to be unresponsive before marking it unhealthy.")
	fs.Float32Var(&c.NodeEvictionRate, "node-eviction-rate", 0.1, "Number of nodes per second on which pods are deleted in case of node failure when a zone is healthy.")
	fs.Float32Var(&c.SecondaryEvictionRate, "secondary-node-eviction-rate", 0.01, "Number of nodes per second on which pods are deleted in case of node failure when a zone is unhealthy.")
	fs.Int32Var(&c.LargeClusterSize, "large-cluster-size-threshold", 50, "Number of nodes from which a cluster is treated as large for the eviction logic purposes. --secondary-node-eviction-rate is implicitly overridden to 0 for clusters this size or smaller.")
	fs.Float32Var(&c.UnhealthyZoneThreshold, "unhealthy-zone-threshold", 0.55, "Fraction of Nodes in a zone which needs to be not Ready (minimum 3) for zone to be treated as unhealthy.")
}

// Ignored are flags of Kubernetes that have no effect here.
var Ignored = map[string]string{
	"allow-untagged-cloud":                                "there are no cloud providers in this program",
	"attach-detach-reconcile-sync-period":                 "the state is followed, not polled",
	"disable-attach-detach-reconcile-sync":                "the state is followed, not polled",
	"cloud-config":                                        "there are no cloud providers in this program",
	"cloud-provider-gce-lb-src-cidrs":                     "there are no cloud providers in this program",
	"configure-cloud-routes":                              "routes are the cloud-controller-manager's",
	"route-reconciliation-period":                         "routes are the cloud-controller-manager's",
	"node-sync-period":                                    "the state is followed, not polled",
	"controller-start-interval":                           "all controllers start at once",
	"controller-shutdown-timeout":                         "controllers end at once",
	"min-resync-period":                                   "the state is followed, not listed again",
	"endpoint-updates-batch-period":                       "changes that come together are written together",
	"endpointslice-updates-batch-period":                  "changes that come together are written together",
	"mirroring-endpointslice-updates-batch-period":        "changes that come together are written together",
	"mirroring-concurrent-service-endpoint-syncs":         "one worker suffices",
	"leader-migration-config":                             "controllers don't move between programs",
	"enable-leader-migration":                             "controllers don't move between programs",
	"external-cloud-volume-plugin":                        "volumes are CSI's",
	"flex-volume-plugin-dir":                              "volumes are CSI's",
	"pv-recycler-increment-timeout-nfs":                   "volumes are not recycled",
	"pv-recycler-minimum-timeout-hostpath":                "volumes are not recycled",
	"pv-recycler-minimum-timeout-nfs":                     "volumes are not recycled",
	"pv-recycler-pod-template-filepath-hostpath":          "volumes are not recycled",
	"pv-recycler-pod-template-filepath-nfs":               "volumes are not recycled",
	"pv-recycler-timeout-increment-hostpath":              "volumes are not recycled",
	"horizontal-pod-autoscaler-sync-period":               "this program has no autoscaler",
	"horizontal-pod-autoscaler-tolerance":                 "this program has no autoscaler",
	"horizontal-pod-autoscaler-downscale-stabilization":   "this program has no autoscaler",
	"horizontal-pod-autoscaler-cpu-initialization-period": "this program has no autoscaler",
	"horizontal-pod-autoscaler-initial-readiness-delay":   "this program has no autoscaler",
	"concurrent-horizontal-pod-autoscaler-syncs":          "this program has no autoscaler",
	"concurrent-validating-admission-policy-status-syncs": "this program does not check the types of admission policies",
	"concurrent-service-syncs":                            "load balancers are the cloud-controller-manager's",
	"concurrent-device-taint-eviction-syncs":              "this program does not evict for taints of devices",
	"namespace-sync-period":                               "the state is followed, not listed again",
	"pvclaimbinder-sync-period":                           "the state is followed, not listed again",
	"enable-hostpath-provisioner":                         "volumes are CSI's",
	"feature-gates-file":                                  "gates are given as flags",
}
