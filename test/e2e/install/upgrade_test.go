package install

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/test/cluster"
)

// later is the version that the cluster is upgraded to: the same programs,
// under another name.
const later = "v1.37.3"

// adm runs a xebecadm of the later version on the node.
func adm(t *testing.T, c *cluster.Cluster) func(args string) (string, error) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "xebecadm")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X xebec.dev/deploy/internal/cli.Version="+later+"+xebec.1", "-o", to, "./cmd/xebecadm")
	build.Dir = filepath.Join(root(), "deploy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(args string) (string, error) {
		return shell(t, c, to+" --root-dir="+c.Members()[0].Path("/")+" "+args)
	}
}

func manifests(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	return must(t, c, "cd "+c.Members()[0].Path("/etc/kubernetes/manifests")+" && sha256sum *")
}

// rollback: a scheduler that does not start is put back with all the others.
func rollback(t *testing.T, c *cluster.Cluster) {
	run := adm(t, c)
	tag(t, c)
	patches := t.TempDir()
	config := filepath.Join(patches, "upgrade.yaml")
	for file, text := range map[string]string{
		filepath.Join(patches, "kube-scheduler0+strategic.yaml"): "spec: {containers: [{name: kube-scheduler, command: [kube-scheduler, --no-such-flag]}]}\n",
		config: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\napply: {kubernetesVersion: " + later + ", patches: {directory: " + patches + "}}\ntimeouts: {upgradeManifests: 45s}\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := manifests(t, c)
	out, err := run("upgrade apply --yes --config=" + config)
	if err == nil || !strings.Contains(out, "tried to recover everything into the earlier state") || !strings.Contains(out, "kube-scheduler") {
		t.Fatalf("an upgrade to a scheduler that does not start: %v\n%s", err, out)
	}
	if after := manifests(t, c); after != before {
		t.Errorf("manifests before:\n%safter:\n%s", before, after)
	}
	cluster.Eventually(t, "the old control plane is there", func() error { return images(t, c, "v1.37.2") })
	if got := c.Must(t, "get", "configmap/kubeadm-config", "-n=kube-system", "-o=jsonpath={.data}"); strings.Contains(got, later) {
		t.Errorf("the cluster calls itself upgraded: %s", got)
	}
}

// tag gives the images their later names.
func tag(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		out, err := exec.Command(program("ctr"), "-a", c.Members()[0].Socket(), "-n", "k8s.io", "images", "tag", "--force", "xebec.dev/"+name+":v1.37.2", "xebec.dev/"+name+":"+later).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// images says which component has no ready pod of a version.
func images(t *testing.T, c *cluster.Cluster, version string) error {
	out, err := c.Kubectl(t.Context(), "get", "pods", "-n=kube-system", "-o", `jsonpath={range .items[*]}{.spec.containers[0].image}/{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	if err != nil {
		return err
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if !strings.Contains(out, "xebec.dev/"+name+":"+version+"/True\n") {
			return fmt.Errorf("%s is not there at %s:\n%s", name, version, out)
		}
	}
	return nil
}

// upgrade: the control plane and the addons become the later version, what
// users have changed stays, and no container of theirs is touched.
func upgrade(t *testing.T, c *cluster.Cluster) {
	run := adm(t, c)
	tag(t, c)
	// A node that is not Ready, after what a rollback did to it on a busy
	// machine, is not upgraded.
	c.Must(t, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
	c.Must(t, "-n=kube-system", "patch", "configmap/coredns", "--type=merge", "--patch", `{"data":{"Corefile":"`+corefile(t, c)+`# mine\n"}}`)
	if out, err := inPod(t, c, "true"); err != nil {
		t.Fatal(out, err)
	}
	ours := func() string {
		return c.Must(t, "get", "pods", "-o=jsonpath={range .items[*]}{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}")
	}
	containers, serial := ours(), must(t, c, "openssl x509 -serial -noout -in "+c.Members()[0].Path("/etc/kubernetes/pki/apiserver.crt"))

	if out, err := run("upgrade apply v1.37.4 --yes"); err == nil || !strings.Contains(out, "Upgrade xebecadm first") {
		t.Errorf("a version ahead of the program: %v\n%s", err, out)
	}
	if out, err := run("upgrade apply " + later + " </dev/null"); err == nil || !strings.Contains(out, "Are you sure") {
		t.Errorf("nobody said yes: %v\n%s", err, out)
	}
	before := manifests(t, c)
	if out, err := run("upgrade apply " + later + " --dry-run"); err != nil || !strings.Contains(out, "Would replace these manifests: [kube-apiserver kube-controller-manager kube-scheduler]") || manifests(t, c) != before {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	// etcd stays as it is between these versions: a patch makes its manifest another.
	patches := " --patches=" + t.TempDir()
	if err := os.WriteFile(filepath.Join(strings.TrimPrefix(patches, " --patches="), "etcd0+merge.yaml"), []byte("metadata: {labels: {patched: \"yes\"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("upgrade apply " + later + " --yes" + patches)
	if err != nil || !strings.Contains(out, `SUCCESS! A control plane node of your cluster was upgraded to "`+later+`".`) {
		t.Fatalf("%v\n%s", err, out)
	}
	cluster.Eventually(t, "the later control plane and kube-proxy", func() error { return images(t, c, later) })
	if !strings.Contains(corefile(t, c), "# mine") {
		t.Error("the Corefile of the user is gone")
	}
	if now := must(t, c, "openssl x509 -serial -noout -in "+c.Members()[0].Path("/etc/kubernetes/pki/apiserver.crt")); now == serial {
		t.Error("the API server's certificate was not renewed")
	}
	if now := ours(); now != containers {
		t.Errorf("users' containers before:\n%safter:\n%s", containers, now)
	}
	if backup, err := filepath.Glob(c.Members()[0].Path("/etc/kubernetes/tmp/kubeadm-backup-manifests-*/kube-apiserver.yaml")); err != nil || len(backup) == 0 {
		t.Errorf("no backup of the manifests: %v %v", backup, err)
	}
	if got := c.Must(t, "get", "pods", "-n=kube-system", "-l=component=etcd", "-o=jsonpath={.items[*].metadata.labels.patched}"); got != "yes" {
		t.Errorf("etcd's pod has the patch's label %q", got)
	}
	saved, err := filepath.Glob(c.Members()[0].Path("/etc/kubernetes/tmp/kubeadm-backup-etcd-*/snapshot.db"))
	if err != nil || len(saved) != 1 {
		t.Fatalf("snapshots of etcd: %v %v", saved, err)
	}
	// What is behind the store in a snapshot is a checksum of the store.
	if st, err := os.Stat(saved[0]); err != nil || st.Size()%512 != 32 {
		t.Errorf("the snapshot of etcd: %v %v", st, err)
	}
	// A second time, and what other nodes do, changes nothing more.
	before = manifests(t, c)
	if out, err := run("upgrade node" + patches); err != nil || manifests(t, c) != before {
		t.Errorf("upgrade node: %v\n%s", err, out)
	}
	if out, err := run("upgrade apply v1.37.2 --yes"); err == nil || !strings.Contains(out, "no way back") {
		t.Errorf("a way back: %v\n%s", err, out)
	}
}

// corefile of cluster DNS, escaped for JSON.
func corefile(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	return strings.NewReplacer("\n", `\n`, `"`, `\"`, "\t", `\t`).Replace(c.Must(t, "-n=kube-system", "get", "configmap/coredns", "-o=jsonpath={.data.Corefile}"))
}
