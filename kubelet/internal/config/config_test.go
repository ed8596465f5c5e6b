package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const minimal = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

func load(t *testing.T, file string, dropIns map[string]string, args ...string) (*Kubelet, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &Flags{}
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	f.Add(fs)
	if len(dropIns) > 0 {
		sub := filepath.Join(dir, "conf.d")
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range dropIns {
			if err := os.WriteFile(filepath.Join(sub, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "--config-dir="+sub)
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return Load(path, f)
}

// A later source wins: file, drop-ins by name, flags.
func TestPrecedence(t *testing.T) {
	k, err := load(t, minimal+"maxPods: 10\nport: 1\nclusterDomain: file\nevictionHard: {memory.available: 1Mi}\n", map[string]string{
		"20.conf": minimal + "port: 3\nclusterDomain: second\n", "10.conf": minimal + "port: 2\nclusterDNS: [10.0.0.10]\n", "note.txt": "no yaml: [",
	}, "--cluster-domain=flag", "--register-with-taints=a=b:NoSchedule,c:NoExecute", "--fail-swap-on=false", "--anonymous-auth")
	if err != nil {
		t.Fatal(err)
	}
	if k.MaxPods != 10 || k.Port != 3 || k.ClusterDomain != "flag" || k.ClusterDNS[0] != "10.0.0.10" || *k.FailSwapOn || !*k.Authentication.Anonymous.Enabled {
		t.Errorf("%+v", k)
	}
	if len(k.RegisterTaints) != 2 || k.RegisterTaints[0].Value != "b" || k.RegisterTaints[1].Effect != "NoExecute" {
		t.Errorf("taints %v", k.RegisterTaints)
	}
	if len(k.EvictionHard) != 1 {
		t.Errorf("thresholds that were given get company: %v", k.EvictionHard)
	}
}

func TestDefaults(t *testing.T) {
	k, err := load(t, minimal, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k.Port != 10250 || *k.HealthzPort != 10248 || k.StatusReport.Duration != 5*time.Minute || k.LeaseSeconds != 40 || k.EvictionHard["nodefs.available"] != "10%" ||
		!*k.SerializePulls || *k.Authentication.Anonymous.Enabled || k.Authorization.Mode != "Webhook" || k.ReadOnlyPort != 0 || k.CrashLoop.Max.Duration != 5*time.Minute {
		t.Errorf("%+v", k)
	}
}

// Mistakes say which field is wrong and what it should be.
func TestMistakes(t *testing.T) {
	for given, want := range map[string]string{
		"nonsense: 1\n": `unknown field "nonsense"`, "port: 70000\n": "port: Invalid value: 70000: must be between 1 and 65535",
		"registryPullQPS: -1\n": "registryPullQPS: Invalid value: -1: must be between 0 and", "registryBurst: -1\n": "registryBurst: Invalid value: -1",
		"clusterDNS: [nowhere]\n": "must be IP addresses", "cgroupDriver: other\n": `cgroupDriver: Unsupported value: "other": supported values: "cgroupfs", "systemd"`,
		"evictionHard: {memory.available: lots}\n": "evictionHard[memory.available]", "evictionHard: {cpu: \"1\"}\n": `evictionHard: Unsupported value: "cpu"`,
		"evictionSoft: {memory.available: 1Mi}\n":              "every soft threshold needs a positive time",
		"imageGCHighThresholdPercent: 50\n":                    "imageGCLowThresholdPercent: Invalid value: 80: must be less than imageGCHighThresholdPercent, 50",
		"crashLoopBackOff: {maxContainerRestartPeriod: 10m}\n": "must be between 1s and 300s", "kubeReserved: {cpu: x}\n": "kubeReserved[cpu]",
		"tlsCertFile: /x\n": "needs tlsPrivateKeyFile", "shutdownGracePeriod: 10ms\n": "must be either zero or otherwise >= 1 sec",
		"imagePullCredentialsVerificationPolicy: Sometimes\n": `imagePullCredentialsVerificationPolicy: Unsupported value: "Sometimes"`,
		"preloadedImagesVerificationAllowlist: [a/b]\n":       "preloadedImagesVerificationAllowlist: Invalid value",
		"enforceNodeAllocatable: [pods, kube-reserved]\n":     `enforceNodeAllocatable: Unsupported value: "kube-reserved"`,
		"runOnce: true\n": "runOnce: Invalid value: true: is no longer supported", "reservedSystemCPUs: all\n": `"all" is no list of CPUs, as in 0-1,4`,
		"reservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}]\n": "reservedMemory: Invalid value: 1: needs a policy", "cpuManagerPolicyOptions: {full-pcpus-only: \"true\"}\n": "cpuManagerPolicyOptions: Invalid value",
		"cpuManagerPolicy: static\n": `cpuManagerPolicy: Unsupported value: "static": supported values: "none"`, "memoryManagerPolicy: Static\n": "memoryManagerPolicy: Unsupported value",
		"topologyManagerPolicy: restricted\n": "topologyManagerPolicy: Unsupported value", "memorySwap: {swapBehavior: LimitedSwap}\n": "memorySwap.swapBehavior: Unsupported value",
		"shutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 20s\n":                                             "is part of shutdownGracePeriod, 10s",
		"shutdownGracePeriod: 10s\nshutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 1}]\n": "cannot be specified together with shutdownGracePeriod",
	} {
		if _, err := load(t, minimal+given, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", given, err, want)
		}
	}
	if _, err := load(t, "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n", nil); err == nil {
		t.Error("a version that is not known was read")
	}
	if _, err := load(t, minimal, nil, "--max-pods=many"); err == nil || !strings.Contains(err.Error(), "max-pods") {
		t.Errorf("flag: %v", err)
	}
}

// kubeadm's files and flags are understood.
func TestKubeadm(t *testing.T) {
	_, err := load(t, minimal+`authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
`, nil, "--container-runtime-endpoint=unix:///run/containerd/containerd.sock", "--node-labels=a=b")
	if err != nil {
		t.Fatal(err)
	}
}

// What a setting asks for and does not get is said.
func TestUnheeded(t *testing.T) {
	k, err := load(t, minimal+"enableSystemLogHandler: false\nenableSystemLogQuery: true\ntracing: {endpoint: \"localhost:4317\"}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if u := k.Unheeded(); len(u) != 2 || u["tracing"] == "" || u["enableSystemLogQuery"] == "" {
		t.Error(u)
	}
	if k, err = load(t, minimal+"enableSystemLogQuery: true\n", nil); err != nil || len(k.Unheeded()) != 0 {
		t.Error(err, k.Unheeded())
	}
}

func TestCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3,8": 5, "1, 1-2": 2} {
		if n, err := CPUs(list); err != nil || n != want {
			t.Errorf("%s: %d %v, want %d", list, n, err, want)
		}
	}
	for _, list := range []string{"", "a", "3-1", "1-", "-1", "0-99999999"} {
		if n, err := CPUs(list); err == nil {
			t.Errorf("%q: %d", list, n)
		}
	}
}
