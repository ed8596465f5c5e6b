package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
)

// newInit is an init below a directory of its own, that talks to nobody.
func newInit(t *testing.T) (*Init, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	root := layout.Root(t.TempDir())
	i := &Init{Node: &Node{Root: root, Write: root, Out: out, Hostname: "host", Kubelet: kubelet.Options{Root: root}},
		Cluster: &kubeadm.ClusterConfiguration{EncryptionAlgorithm: "ECDSA-P256"}, Config: &kubeadm.InitConfiguration{}}
	i.Cluster.Default()
	i.Config.Default("node1", "10.0.0.1")
	return i, out
}

func run(t *testing.T, i *Init, phases ...string) {
	t.Helper()
	for _, p := range phases {
		if err := i.RunPhase(t.Context(), p); err != nil {
			t.Fatalf("phase %s: %v", p, err)
		}
	}
}

// TestFilesOfAControlPlaneNode: kubeadm's files, with kubeadm's rights.
func TestFilesOfAControlPlaneNode(t *testing.T) {
	i, _ := newInit(t)
	run(t, i, "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start")
	var b strings.Builder
	err := filepath.Walk(string(i.Root), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(string(i.Root), path)
			b.WriteString(info.Mode().String() + " /" + rel + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "files.txt", []byte(b.String()))
	before, err := os.ReadFile(i.path(layout.AdminConf))
	if err != nil {
		t.Fatal(err)
	}
	run(t, i, "certs", "kubeconfig", "etcd", "control-plane")
	if after, err := os.ReadFile(i.path(layout.AdminConf)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a good kubeconfig was made anew: %v", err)
	}
}

func TestKubeconfigs(t *testing.T) {
	i, _ := newInit(t)
	i.Cluster.ControlPlaneEndpoint = "lb.example:8443"
	run(t, i, "certs", "kubeconfig")
	var b strings.Builder
	for _, f := range []string{"admin", "super-admin", "kubelet", "controller-manager", "scheduler"} {
		k, err := kubeconfig.Read(i.path("/etc/kubernetes/" + f + ".conf"))
		if err != nil {
			t.Fatal(err)
		}
		cert, err := k.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(f + " " + k.Clusters[0].Cluster.Server + " " + k.CurrentContext + " " + cert.Subject.String() + "\n")
	}
	golden.Check(t, "kubeconfigs.txt", []byte(b.String()))
}

// TestKubeconfigOfAnotherCluster is not used, and not overwritten.
func TestKubeconfigOfAnotherCluster(t *testing.T) {
	i, _ := newInit(t)
	run(t, i, "certs", "kubeconfig")
	for _, f := range []string{"ca.crt", "ca.key", "apiserver.crt", "apiserver-kubelet-client.crt"} {
		if err := os.Remove(i.path("/etc/kubernetes/pki/" + f)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, i, "certs")
	if err := i.RunPhase(t.Context(), "kubeconfig"); err == nil || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("%v", err)
	}
}

func TestDryRunTouchesNothing(t *testing.T) {
	i, out := newInit(t)
	if err := i.StartDryRun("init"); err != nil {
		t.Fatal(err)
	}
	i.Config.SkipPhases = []string{"preflight"}
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(i.Root.Path(layout.PKI)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("certificates were made outside of the directory for dry runs: %v", err)
	}
	if raw, err := os.ReadFile(i.Write.Path(layout.Manifests + "/kube-apiserver.yaml")); err != nil || !strings.Contains(string(raw), "path: "+string(i.Root)+"/etc/kubernetes/pki") {
		t.Errorf("the manifest is not that of a real run: %v", err)
	}
	for _, want := range []string{"name: kubeadm-config", "name: kubelet-config", "name: cluster-info", "kind: DaemonSet", "name: coredns", "kubeadm:node-autoapprove-bootstrap"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("a dry run does not tell %q", want)
		}
	}
}

// TestObjects: what init writes to a cluster, but for what is random.
func TestObjects(t *testing.T) {
	i, _ := newInit(t)
	shared, err := i.sharedKubelet()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := clusterObjects(i.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	kubelets, err := kubeletObjects(shared)
	if err != nil {
		t.Fatal(err)
	}
	objects = append(append(objects, kubelets...), adminObjects()...)
	objects = append(objects, bootstrapperObjects()...)
	objects = append(objects, clusterInfoObjects([]byte("the kubeconfig\n"))...)
	var b bytes.Buffer
	for _, o := range objects {
		m, err := toMap(o)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(raw)
	}
	golden.Check(t, "objects.yaml", b.Bytes())
}

func TestSkippedPhaseMustExist(t *testing.T) {
	for _, name := range []string{"addons", "addon/kube-dns", "preflight/x"} {
		i, _ := newInit(t)
		i.Config.SkipPhases = []string{name}
		if err := i.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `no phase "`+name+`"`) {
			t.Errorf("%v", err)
		}
	}
}

// TestSkippedPart: a part of a phase is left out, and the rest is done.
func TestSkippedPart(t *testing.T) {
	i, out := newInit(t)
	if err := i.StartDryRun("init"); err != nil {
		t.Fatal(err)
	}
	i.Config.SkipPhases = []string{"preflight", "addon/kube-proxy", "control-plane/scheduler", "upload-config/kubelet"}
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"kind: DaemonSet": false, "name: coredns": true, "name: kubelet-config": false, "name: kubeadm-config": true} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("that a dry run tells %q is not %v", text, want)
		}
	}
	for name, want := range map[string]bool{"kube-scheduler": false, "kube-apiserver": true, "etcd": true} {
		if _, err := os.Stat(i.Write.Path(layout.Manifests + "/" + name + ".yaml")); (err == nil) != want {
			t.Errorf("manifest of %s: %v", name, err)
		}
	}
}

// TestParts: certificates are made one by one, each by the authority that is there.
func TestParts(t *testing.T) {
	i, _ := newInit(t)
	if err := i.RunPhase(t.Context(), "certs/apiserver"); err == nil || !strings.Contains(err.Error(), "needs its authority") {
		t.Errorf("a certificate without an authority: %v", err)
	}
	run(t, i, "certs/ca", "certs/apiserver", "kubeconfig/admin", "control-plane/scheduler")
	for file, want := range map[string]bool{"pki/apiserver.crt": true, "pki/front-proxy-ca.crt": false, "pki/sa.key": false, "admin.conf": true, "scheduler.conf": false,
		"manifests/kube-scheduler.yaml": true, "manifests/kube-apiserver.yaml": false} {
		if _, err := os.Stat(i.path("/etc/kubernetes/" + file)); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
	run(t, i, "certs", "certs/sa")
	if err := i.RunPhase(t.Context(), "certs/none"); err == nil || !strings.Contains(err.Error(), `no phase "certs/none"`) {
		t.Errorf("%v", err)
	}
}

// TestPhases are the names that users skip and call.
func TestPhases(t *testing.T) {
	text := "init\n  " + strings.Join(paths(InitPhases(), ""), "\n  ") + "\njoin\n  " + strings.Join(paths(JoinPhases(), ""), "\n  ") +
		"\nreset\n  " + strings.Join(paths(ResetPhases(), ""), "\n  ") + "\nupgrade apply\n  " + strings.Join(paths(ApplyPhases(), ""), "\n  ") +
		"\nupgrade node\n  " + strings.Join(paths(NodePhases(), ""), "\n  ") + "\n"
	golden.Check(t, "phases.txt", []byte(text))
}

func TestPreflightTellsAllAtOnce(t *testing.T) {
	i, out := newInit(t)
	bad := func(name string) Check {
		return Check{Name: name, Run: func(context.Context) error { return errors.New("it is bad") }}
	}
	warn := bad("Warned")
	warn.Warning = true
	err := i.Preflight(t.Context(), []string{"ignored"}, []Check{bad("One"), bad("Ignored"), bad("Two"), warn})
	if err == nil || !strings.Contains(err.Error(), "[ERROR One]") || !strings.Contains(err.Error(), "[ERROR Two]") || strings.Contains(err.Error(), "Ignored]") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "[WARNING Ignored]") || !strings.Contains(out.String(), "[WARNING Warned]") {
		t.Errorf("output %q", out)
	}
	if err := i.Preflight(t.Context(), []string{"all"}, []Check{bad("One")}); err != nil {
		t.Errorf("all errors are ignored: %v", err)
	}
}

func TestCertsRenewAndExpirations(t *testing.T) {
	i, out := newInit(t)
	run(t, i, "certs", "kubeconfig")
	c := &Certs{Node: i.Node, Cluster: i.Cluster}
	now := time.Now()
	expirations := func(now time.Time) (string, error) {
		e, err := c.Expirations(now)
		if err != nil {
			return "", err
		}
		return e.String(), nil
	}
	text, err := expirations(now)
	if err != nil || strings.Count(text, "364d")+strings.Count(text, "365d") != 11 || strings.Count(text, "9y") != 3 {
		t.Errorf("%v\n%s", err, text)
	}
	if err := c.Renew("apiserver", now.Add(200*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	text, err = expirations(now.Add(200 * 24 * time.Hour))
	if err != nil || strings.Count(text, "165d")+strings.Count(text, "164d") != 10 || strings.Count(text, "364d")+strings.Count(text, "365d") != 1 {
		t.Errorf("after one was renewed: %v\n%s", err, text)
	}
	// In 250 days it is fresh, and the others are due.
	c.WhenDue = true
	later := now.Add(250 * 24 * time.Hour)
	if err := c.Renew("all", later); err != nil || !strings.Contains(out.String(), "certificate apiserver is good until") || strings.Count(out.String(), " renewed\n") != 11 {
		t.Errorf("what is due: %v\n%s", err, out)
	}
	if text, err = expirations(later); err != nil || strings.Count(text, "364d")+strings.Count(text, "365d") != 10 {
		t.Errorf("after what was due is renewed: %v\n%s", err, text)
	}
	c.WhenDue = false
	if err := os.Remove(i.path("/etc/kubernetes/pki/etcd/peer.crt")); err != nil {
		t.Fatal(err)
	}
	// A static pod has the file, not the name: it has to stay the same file.
	conf := i.path("/etc/kubernetes/controller-manager.conf")
	given, err := os.Open(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	if err := c.Renew("all", now); err != nil {
		t.Fatal(err)
	}
	seen, err := io.ReadAll(given)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(conf); err != nil || string(seen) != string(now) {
		t.Errorf("%v; who has the file sees\n%s\nand its name gives\n%s", err, seen, now)
	}
	if !strings.Contains(out.String(), "MISSING! certificate etcd-peer") || !strings.Contains(out.String(), "certificate admin.conf renewed") {
		t.Errorf("output %s", out)
	}
	// An etcd elsewhere: its authority's key is not here, and the rest is renewed.
	if err := os.Remove(i.path("/etc/kubernetes/pki/etcd/ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.path("/etc/kubernetes/admin.conf"), []byte("broken: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	err = c.Renew("all", now)
	if err == nil || !strings.Contains(err.Error(), "admin.conf") || strings.Contains(err.Error(), "etcd") ||
		!strings.Contains(out.String(), "apiserver-etcd-client is not renewed") || !strings.Contains(out.String(), "certificate scheduler.conf renewed") {
		t.Errorf("with a broken one and an authority that is elsewhere: %v\n%s", err, out)
	}
	if err := c.Renew("nonsense", now); err == nil {
		t.Error("a certificate that does not exist was renewed")
	}
}

func TestUpgradePlan(t *testing.T) {
	plan := func(o *Observed, target string) (string, error) {
		p, err := UpgradePlan(o, target, kubeadm.Unstable{})
		if err != nil {
			return "", err
		}
		return p.String(), nil
	}
	c := &kubeadm.ClusterConfiguration{}
	c.Default()
	o := &Observed{Cluster: c, Kubelets: map[string]string{"a": "v1.37.2+xebec.1", "b": "v1.36.0"},
		Components: map[string]string{"etcd/a": "v3.7.3", "kube-apiserver/a": "v1.37.2"}}
	text, err := plan(o, "v1.37.5+xebec.1")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "upgrade.txt", []byte(text))
	for target, want := range map[string]string{"v1.37.1": "no way back", "v1.39.0": "more than one minor", "x": "version"} {
		if _, err := plan(o, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", target, err)
		}
	}
	yes := true
	for _, c := range []struct {
		target string
		allow  kubeadm.Unstable
		good   bool
	}{{"v1.37.5-rc.1", kubeadm.Unstable{}, false}, {"v1.37.5-rc.1", kubeadm.Unstable{AllowRCUpgrades: &yes}, true}, {"v1.37.5-alpha.1", kubeadm.Unstable{AllowRCUpgrades: &yes}, false},
		{"v1.37.5-alpha.1", kubeadm.Unstable{AllowExperimentalUpgrades: &yes}, true}} {
		if _, err := UpgradePlan(o, c.target, c.allow); (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "is an unstable version and such upgrades weren't allowed via setting the --allow-*-upgrades flags") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got := o.Without(true, "etcd"); len(got.Components) != 1 || len(o.Components) != 2 {
		t.Errorf("components without etcd: %v", got.Components)
	}
	o.Kubelets["b"] = "v1.37.2"
	if text, err := plan(o, "v1.37.2+xebec.2"); err != nil || !strings.Contains(text, "up-to-date") || strings.Contains(text, "upgrade apply") || strings.Contains(text, "manually") {
		t.Errorf("nothing is to be upgraded: %v\n%s", err, text)
	}
	o.NotReady = []string{"b"}
	if _, err := plan(o, "v1.37.5"); err == nil || !strings.Contains(err.Error(), "not Ready: b") {
		t.Errorf("%v", err)
	}
}

func TestManifestsThatChange(t *testing.T) {
	old := map[string][]byte{"etcd": []byte("e"), "kube-apiserver": []byte("a1"), "kube-scheduler": []byte("s")}
	next := map[string][]byte{"etcd": []byte("e"), "kube-apiserver": []byte("a2"), "kube-controller-manager": []byte("c"), "kube-scheduler": []byte("s")}
	order := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	if got := strings.Join(changes(order, old, next), " "); got != "kube-apiserver kube-controller-manager" {
		t.Errorf("changes: %s", got)
	}
}

func TestMembersThatANodeJoined(t *testing.T) {
	cluster := "--initial-cluster=a=https://10.0.0.1:2380,b=https://10.0.0.2:2380"
	if got := strings.Join(otherMembers([]string{"etcd", cluster, "--initial-cluster-state=existing"}, "b"), " "); got != "a=https://10.0.0.1:2380" {
		t.Errorf("members: %s", got)
	}
	if got := otherMembers([]string{"etcd", cluster, "--initial-cluster-state=new"}, "b"); got != nil {
		t.Errorf("the first node joined %v", got)
	}
}

// TestUpgradeFindsTheNode: what init wrote is what an upgrade starts from, so
// that the same version changes nothing.
func TestUpgradeFindsTheNode(t *testing.T) {
	i, _ := newInit(t)
	i.Config.LocalAPIEndpoint.BindPort = 7443
	i.Config.NodeRegistration.CRISocket = "unix:///run/other.sock"
	run(t, i, "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start")
	u := &Upgrade{Init: &Init{Node: i.Node, Cluster: i.Cluster, Config: &kubeadm.InitConfiguration{}}, plane: true}
	if err := u.findNode(); err != nil {
		t.Fatal(err)
	}
	if u.Config.NodeRegistration.Name != "node1" || u.Config.NodeRegistration.CRISocket != "unix:///run/other.sock" || u.Config.LocalAPIEndpoint != i.Config.LocalAPIEndpoint {
		t.Errorf("found %+v", u.Config)
	}
	next, err := u.render()
	if err != nil {
		t.Fatal(err)
	}
	old := map[string][]byte{}
	for name := range next {
		if old[name], err = os.ReadFile(u.manifest(name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := changes(u.order(), old, next); len(got) > 0 {
		t.Errorf("without another version these change: %v", got)
	}
}
