// Package deploy tests xebecadm's verbs that talk to a cluster against the
// real API server.
package deploy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
)

// node is a directory with the files of a control plane node whose API server
// is the test's.
type node struct {
	t    *testing.T
	root string
	s    *apiservertest.Server
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, root: t.TempDir(), s: apiservertest.Start(t, "--enable-bootstrap-token-auth", "--service-cluster-ip-range=10.96.0.0/12")}
	admin, err := os.ReadFile(n.s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	n.write("/etc/kubernetes/admin.conf", admin)
	return n
}

func (n *node) write(path string, data []byte) {
	n.t.Helper()
	file := filepath.Join(n.root, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) adm(args ...string) (string, error) {
	cmd := exec.Command(apiservertest.Binary("xebecadm"), append([]string{"--root-dir=" + n.root}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	return string(out) + stderr.String(), err
}

func (n *node) must(args ...string) string {
	n.t.Helper()
	out, err := n.adm(args...)
	if err != nil {
		n.t.Fatalf("xebecadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (n *node) kubectl(args ...string) string {
	n.t.Helper()
	cmd := exec.Command(apiservertest.Binary("kubectl"), append([]string{"--kubeconfig=" + n.s.Kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTokens(t *testing.T) {
	n := newNode(t)
	tok := n.must("token", "create", "--ttl=2h", "--description=one", "--groups=system:bootstrappers:a,system:bootstrappers:b")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		// The server's own cache of tokens follows.
		who, err := exec.Command(apiservertest.Binary("kubectl"), "--server="+n.s.URL, "--insecure-skip-tls-verify", "--token="+tok, "auth", "whoami").CombinedOutput()
		if err == nil && strings.Contains(string(who), "system:bootstrap:"+tok[:6]) && strings.Contains(string(who), "system:bootstrappers:b") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the token is nobody: %v %s", err, who)
		}
	}
	if list := n.must("token", "list"); !strings.Contains(list, tok) || !strings.Contains(list, "119m") && !strings.Contains(list, "2h") || !strings.Contains(list, "one") {
		t.Errorf("token list:\n%s", list)
	}
	if out, err := n.adm("token", "create", tok); err == nil || !strings.Contains(out, "already exists") {
		t.Errorf("a token was made twice: %v %s", err, out)
	}
	for _, bad := range [][]string{{"token", "create", "short"}, {"token", "create", "--groups=system:masters"}, {"token", "create", "--usages=login"}, {"token", "delete", "zzz"}} {
		if out, err := n.adm(bad...); err == nil {
			t.Errorf("%v: %s", bad, out)
		}
	}
	for output, want := range map[string]string{"json": `"token": "` + tok + `"`, "yaml": "kind: BootstrapToken"} {
		if list := n.must("token", "list", "-o", output); !strings.Contains(list, want) || !strings.Contains(list, "output.kubeadm.k8s.io/v1alpha3") {
			t.Errorf("token list -o %s:\n%s", output, list)
		}
	}
	if out := n.must("token", "delete", "abc", "--dry-run"); !strings.Contains(out, "deleted") {
		t.Errorf("a dry run: %s", out)
	}
	n.write("token.yaml", []byte("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: fedcba.0123456789abcdef\n  description: of a file\n  ttl: 3h\n"))
	if out := n.must("token", "create", "--config="+filepath.Join(n.root, "token.yaml")); out != "fedcba.0123456789abcdef" {
		t.Errorf("the token of a file: %s", out)
	}
	if list := n.must("token", "list"); !strings.Contains(list, "fedcba.0123456789abcdef") || !strings.Contains(list, "of a file") {
		t.Errorf("token list:\n%s", list)
	}
	n.must("token", "delete", tok)
	if list := n.must("token", "list"); strings.Contains(list, tok) {
		t.Errorf("the token was not deleted:\n%s", list)
	}
	if out, err := n.adm("token", "delete", tok); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("a token was deleted twice: %v %s", err, out)
	}
}

// config of a cluster whose API server is the test's.
func (n *node) config() string {
	path := filepath.Join(n.root, "config.yaml")
	n.write("config.yaml", []byte(`apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
encryptionAlgorithm: ECDSA-P256
networking:
  podSubnet: 10.244.0.0/16
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
- token: abcdef.0123456789abcdef
localAPIEndpoint:
  advertiseAddress: 127.0.0.1
nodeRegistration:
  name: n1
`))
	return path
}

// TestPhasesThatWriteObjects, twice each: a second time changes nothing.
func TestPhasesThatWriteObjects(t *testing.T) {
	n := newNode(t)
	config := n.config()
	for range 2 {
		for _, phase := range []string{"certs", "upload-config", "bootstrap-token", "addon"} {
			n.must("init", "phase", phase, "--config="+config)
		}
	}
	n.must("init", "phase", "upload-certs", "--config="+config, "--upload-certs")
	for _, want := range [][]string{
		{"get", "-n", "kube-system", "configmap/kubeadm-config", "configmap/kubelet-config", "configmap/kube-proxy", "configmap/coredns", "secret/bootstrap-token-abcdef", "secret/kubeadm-certs", "role/kubeadm:kubeadm-certs", "rolebinding/kubeadm:kubeadm-certs", "role/kube-proxy", "rolebinding/kube-proxy", "daemonset/kube-proxy", "deployment/coredns", "service/kube-dns"},
		{"get", "-n", "kube-public", "configmap/cluster-info", "role/kubeadm:bootstrap-signer-clusterinfo"},
		{"get", "clusterrolebinding/kubeadm:get-nodes", "clusterrolebinding/kubeadm:kubelet-bootstrap", "clusterrolebinding/kubeadm:node-autoapprove-bootstrap", "clusterrolebinding/kubeadm:node-autoapprove-certificate-rotation"},
	} {
		n.kubectl(want...)
	}
	if ip := n.kubectl("get", "-n", "kube-system", "service/kube-dns", "-o=jsonpath={.spec.clusterIP}"); ip != "10.96.0.10" {
		t.Errorf("cluster DNS has the address %s", ip)
	}
	if got := n.kubectl("get", "secret", "-n", "kube-system", "kubeadm-certs", "-o=jsonpath={.metadata.ownerReferences[0].kind}"); got != "Secret" {
		t.Errorf("the uploaded certificates are owned by %q: they would stay", got)
	}
	// What a plan to upgrade reads is there.
	if out := n.must("upgrade", "plan"); !strings.Contains(out, "Cluster version: v1.37.2") {
		t.Errorf("upgrade plan:\n%s", out)
	}
	var plan struct {
		Kind           string
		ConfigVersions []struct{ Group string }
	}
	if out, err := n.adm("upgrade", "plan", "-o=json"); err != nil || json.Unmarshal([]byte(out), &plan) != nil || plan.Kind != "UpgradePlan" || len(plan.ConfigVersions) != 2 {
		t.Errorf("upgrade plan -o json: %v\n%s", err, out)
	}
	if out, err := n.adm("upgrade", "plan", "v1.37.9-rc.1"); err == nil || !strings.Contains(out, "--allow-*-upgrades") {
		t.Errorf("a plan for a release candidate: %v\n%s", err, out)
	}
	if out := n.must("config", "images", "list", "--kubeconfig="+n.s.Kubeconfig); strings.Count(out, "xebec.dev/") != 7 {
		t.Errorf("images of the cluster:\n%s", out)
	}
	if out := n.must("token", "create", "--print-join-command"); !strings.Contains(out, "xebecadm join 127.0.0.1:6443 --token") || !strings.Contains(out, "sha256:") {
		t.Errorf("join command: %s", out)
	}
	// An anonymous reader, a node to be, finds the cluster.
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // what it reads is signed
	for name, want := range map[string]int{"cluster-info": http.StatusOK, "other": http.StatusForbidden} {
		resp, err := anonymous.Get(n.s.URL + "/api/v1/namespaces/kube-public/configmaps/" + name)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s is answered to everybody with %s", name, resp.Status)
		}
	}
}

// TestUnknownCommands are errors: a script must not take help for a success.
func TestUnknownCommands(t *testing.T) {
	n := &node{t: t, root: t.TempDir()}
	for _, words := range []string{"nothing", "init phase nothing", "init phase certs nothing", "join phase nothing", "config print nothing", "upgrade nothing", "certs renew nothing", "token nothing"} {
		if out, err := n.adm(strings.Fields(words)...); err == nil || !strings.Contains(out, "nothing") {
			t.Errorf("%s: %v\n%s", words, err, out)
		}
	}
	for _, words := range []string{"join phase control-plane-prepare certs --help", "reset phase cleanup-node --help", "upgrade apply phase addon coredns --help", "config print upgrade-defaults"} {
		n.must(strings.Fields(words)...)
	}
}

// TestAddonsAreHelms: Helm takes over what xebecadm has installed.
func TestAddonsAreHelms(t *testing.T) {
	n := newNode(t)
	n.must("init", "phase", "certs", "--config="+n.config())
	n.must("init", "phase", "addon", "--config="+n.config())
	_, err := os.Stat(apiservertest.Binary("helm"))
	if err != nil {
		t.Fatalf("%v (make helm makes it)", err)
	}
	cmd := exec.Command(apiservertest.Binary("helm"), "upgrade", "--install", "xebec", "../../deploy/chart/xebec", "-n", "kube-system", "--set", "dns.replicas=3")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.s.Kubeconfig, "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("helm upgrade --install: %v\n%s", err, out)
	}
	if got := n.kubectl("get", "-n", "kube-system", "deployment/coredns", "-o=jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("Helm set three replicas, there are %s", got)
	}
}

func TestKubeconfigOfAUser(t *testing.T) {
	n := newNode(t)
	config := n.config()
	for _, phase := range []string{"certs", "upload-config"} {
		n.must("init", "phase", phase, "--config="+config)
	}
	out := n.must("kubeconfig", "user", "--client-name=jane", "--org=dev")
	if !strings.Contains(out, "current-context: jane@kubernetes") || !strings.Contains(out, "client-certificate-data:") || !strings.Contains(out, "server: "+n.s.URL) {
		t.Errorf("kubeconfig:\n%s", out)
	}
	if out, err := n.adm("kubeconfig", "user"); err == nil || !strings.Contains(out, "client-name") {
		t.Errorf("a user without a name: %v %s", err, out)
	}
}
