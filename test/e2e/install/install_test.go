// Package install runs what the READMEs tell a newcomer and an operator to do,
// on clusters with real containers.
package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/test/cluster"
)

const (
	web     = "xebec.dev/web:v1"
	busybox = "xebec.dev/busybox:v1"
)

func root() string {
	dir, err := filepath.Abs("../../..")
	if err != nil {
		panic(err)
	}
	return dir
}

func program(name string) string { return filepath.Join(root(), "bin", name) }

// shell runs a script in the first node's network, as the administrator.
func shell(t *testing.T, c *cluster.Cluster, script string, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := c.Members()[0].Command(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "PATH="+program("")+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = ctx.Err()
	}
	return string(out), err
}

func must(t *testing.T, c *cluster.Cluster, script string, env ...string) string {
	t.Helper()
	out, err := shell(t, c, script, env...)
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func apply(t *testing.T, c *cluster.Cluster, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Must(t, "apply", "-f", file)
}

// block is the code of a README that has a line in it, without indentation.
func block(t *testing.T, file, line string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root(), file))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(raw), "```") {
		if i%2 == 1 && strings.Contains(part, line) {
			_, code, _ := strings.Cut(part, "\n")
			return code
		}
	}
	t.Fatalf("%s has no code with %q", file, line)
	return ""
}

// inPod runs a command in a pod named client, made when it is not there.
func inPod(t *testing.T, c *cluster.Cluster, command ...string) (string, error) {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), "get", "pod", "client"); err != nil {
		c.Must(t, "run", "client", "--image="+busybox, "--restart=Never", "--", "sleep", "36000")
	}
	c.Must(t, "wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
	return c.Kubectl(t.Context(), append([]string{"exec", "client", "--"}, command...)...)
}

// says repeats a command in a pod until its output has the text.
func says(t *testing.T, c *cluster.Cluster, want string, command ...string) {
	t.Helper()
	cluster.Eventually(t, strings.Join(command, " "), func() error {
		out, err := inPod(t, c, command...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%q has no %q", out, want)
		}
		return err
	})
}

// TestOneCluster does one thing after the other to a cluster of both families
// of addresses; the last is its upgrade.
func TestOneCluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{PodCIDR: "10.244.0.0/16,fd00:10:244::/56", ServiceCIDR: "10.96.0.0/12,fd00:10:96::/112"})
	for _, s := range []struct {
		name string
		run  func(*testing.T, *cluster.Cluster)
	}{{"quick start", quickStart}, {"both families", bothFamilies}, {"modes of kube-proxy", modes}, {"registry", registry}, {"hosted control plane", hosted}, {"hosted control plane that is kept", hostedKept}, {"crashes", crashes}, {"certificates", certificates}, {"rollback", rollback}, {"upgrade", upgrade}} {
		t.Run(s.name, func(t *testing.T) { s.run(t, c) })
	}
}

// quickStart is README.md's, word for word but for where the cluster is.
func quickStart(t *testing.T, c *cluster.Cluster) {
	code := block(t, "README.md", "kubectl create deployment web")
	for from, to := range map[string]string{
		"/etc/kubernetes/admin.conf": c.Kubeconfig(),
		// The rules follow the pods a moment later.
		"curl http": "curl -sS --retry 60 --retry-delay 1 --retry-connrefused http",
	} {
		if !strings.Contains(code, from) {
			t.Fatalf("the quick start has no %q:\n%s", from, code)
		}
		code = strings.ReplaceAll(code, from, to)
	}
	if out := must(t, c, code); strings.Count(out, "Hello from web-") < 2 {
		t.Errorf("the application did not answer twice:\n%s", out)
	}
	c.Must(t, "delete", "service/web", "deployment/web")
}

const application = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: web, image: "` + web + `", readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ipFamilyPolicy: PreferDualStack, ports: [{port: 80, targetPort: 8080}]}
`

func bothFamilies(t *testing.T, c *cluster.Cluster) {
	apply(t, c, application)
	c.Must(t, "rollout", "status", "deployment/app", "--timeout=120s")
	for ips := range strings.FieldsSeq(c.Must(t, "get", "pods", "-l=app=app", "-o=jsonpath={range .items[*]}{.status.podIPs[0].ip},{.status.podIPs[1].ip} {end}")) {
		four, six, _ := strings.Cut(ips, ",")
		if !strings.HasPrefix(four, "10.244.") || !strings.HasPrefix(six, "fd00:10:244:") {
			t.Errorf("a pod has the addresses %s", ips)
		}
	}
	var addresses []string
	for a := range strings.FieldsSeq(c.Must(t, "get", "service/app", "-o=jsonpath={.spec.clusterIPs[0]} {.spec.clusterIPs[1]}")) {
		addresses = append(addresses, a)
	}
	if len(addresses) != 2 {
		t.Fatalf("the Service has the addresses %v", addresses)
	}
	says(t, c, "Hello from app-", "wget", "-qO-", "http://"+addresses[0])
	says(t, c, "Hello from app-", "wget", "-qO-", "http://["+addresses[1]+"]")
	says(t, c, addresses[0], "nslookup", "-type=a", "app.default.svc.cluster.local")
	says(t, c, addresses[1], "nslookup", "-type=aaaa", "app.default.svc.cluster.local")
	// From the node itself too.
	cluster.Eventually(t, "the Service by IPv6 from the node", func() error {
		out, err := shell(t, c, "curl -sS -m 10 'http://["+addresses[1]+"]'")
		if err == nil && !strings.Contains(out, "Hello from app-") {
			err = errors.New(out)
		}
		return err
	})
}

// registry is deploy/README.md's chapter: push, certs.d, pull. From then on the
// kubelet knows the application's image as one that was pulled, by that name,
// and does not take it for preloaded by its first: what follows uses busybox.
func registry(t *testing.T, c *cluster.Cluster) {
	address := c.StartRegistry(t)
	image := address + "/web:v1"
	c.Must(t, "run", "pulled", "--image="+image, "--image-pull-policy=Always")
	c.Must(t, "wait", "--for=condition=Ready", "pod/pulled", "--timeout=120s")
	events := c.Must(t, "get", "events", "--field-selector=involvedObject.name=pulled", "-o=jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}")
	if !strings.Contains(events, `Pulled: Successfully pulled image "`+image+`"`) {
		t.Errorf("events:\n%s", events)
	}
	c.Must(t, "run", "typo", "--image="+address+"/nothing:v1")
	cluster.Eventually(t, "an image that is not there is told", func() error {
		out, err := c.Kubectl(t.Context(), "get", "pod/typo", "-o=jsonpath={.status.containerStatuses[0].state.waiting.reason}")
		if err == nil && out != "ErrImagePull" && out != "ImagePullBackOff" {
			err = fmt.Errorf("it waits for %q", out)
		}
		return err
	})
	c.Must(t, "delete", "pod/pulled", "pod/typo", "--wait=false")
}

// hosted is deploy/README.md's chapter of the same name.
func hosted(t *testing.T, c *cluster.Cluster) {
	dir := t.TempDir()
	code := block(t, "deploy/README.md", "xebecadm config hosted")
	out := must(t, c, code, "DIR="+dir, "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	for _, name := range []string{"statefulset/demo-etcd", "deployment/demo-apiserver", "deployment/demo-controller-manager", "deployment/demo-scheduler"} {
		c.Must(t, "-n=hosted", "rollout", "status", name, "--timeout=180s")
	}
	ip := strings.TrimSpace(c.Must(t, "-n=hosted", "get", "service/demo-apiserver", "-o=jsonpath={.spec.clusterIP}"))
	kubectl := "kubectl --kubeconfig=" + dir + "/etc/kubernetes/super-admin.conf --server=https://" + ip + ":6443 --tls-server-name=demo-apiserver.hosted.svc "
	cluster.Eventually(t, "the hosted API server", func() error { _, err := shell(t, c, kubectl+"get --raw /readyz"); return err })
	must(t, c, kubectl+`create -f - <<'END'
{apiVersion: v1, kind: Node, metadata: {name: fake}, status: {capacity: {cpu: "4", memory: 8Gi, pods: "10"}, allocatable: {cpu: "4", memory: 8Gi, pods: "10"}, conditions: [{type: Ready, status: "True"}]}}
END`)
	must(t, c, kubectl+"create deployment x --image=none")
	cluster.Eventually(t, "controllers and scheduler of the hosted cluster place a pod", func() error {
		out, err := shell(t, c, kubectl+"get pods -l app=x -o jsonpath='{.items[*].spec.nodeName}'")
		if err == nil && out != "fake" {
			err = fmt.Errorf("its node is %q", out)
		}
		return err
	})
	if t.Failed() {
		t.Log(out)
	}
	c.Must(t, "delete", "namespace", "hosted", "--wait=false")
}

// TestReferenceNetwork: the plugins of the CNI project make the pod network,
// and Debian's containerd and runc the containers.
func TestReferenceNetwork(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(map[bool]string{false: "containerd 2", true: "Debian's containerd"}[old], func(t *testing.T) {
			o := cluster.Options{Reference: true}
			if old {
				o.Bin = debian(t)
			}
			c := cluster.Start(t, o)
			if version := c.Must(t, "get", "nodes", "-o=jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}"); strings.HasPrefix(version, "containerd://1.") != old {
				t.Errorf("the runtime is %s", version)
			}
			conf, err := os.ReadFile(c.Members()[0].Path("/etc/cni/net.d/10-containerd-net.conflist"))
			if err != nil || !strings.Contains(string(conf), `"host-local"`) || !strings.Contains(string(conf), `"portmap"`) {
				t.Errorf("the pod network is %s: %v", conf, err)
			}
			apply(t, c, application)
			c.Must(t, "rollout", "status", "deployment/app", "--timeout=120s")
			says(t, c, "Hello from app-", "wget", "-qO-", "http://app")
			for ip := range strings.FieldsSeq(c.Must(t, "get", "pods", "-l=app=app", "-o=jsonpath={.items[*].status.podIP}")) {
				says(t, c, "Hello from app-", "wget", "-qO-", "http://"+ip+":8080")
			}
			apply(t, c, `{apiVersion: v1, kind: Pod, metadata: {name: port}, spec: {containers: [{name: web, image: "`+web+`", ports: [{containerPort: 8080, hostPort: 8099}]}]}}`)
			c.Must(t, "wait", "--for=condition=Ready", "pod/port", "--timeout=120s")
			says(t, c, "Hello from port", "wget", "-qO-", "http://"+c.Members()[0].Address+":8099")
		})
	}
}

// debian is bin/ with Debian's containerd and runc in place of those built.
func debian(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(program(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Symlink(program(e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct{ pkg, file string }{{"containerd", "usr/bin/containerd"}, {"containerd", "usr/bin/containerd-shim-runc-v2"}, {"containerd", "usr/bin/ctr"}, {"runc", "usr/sbin/runc"}} {
		to := filepath.Join(dir, filepath.Base(f.file))
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat("/" + f.file); err == nil {
			if err := os.Symlink("/"+f.file, to); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, err := exec.Command(filepath.Join(root(), "deploy/debian.sh"), f.pkg, f.file, to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}
