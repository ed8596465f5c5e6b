package podapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// process is a kubectl that goes on, in the node's network.
func process(t *testing.T, env []string, args ...string) (*exec.Cmd, io.WriteCloser, *bufio.Reader) {
	t.Helper()
	// nsenter of the API server's process: it is in the node's network.
	c := exec.Command("ip", append([]string{"netns", "exec", filepath.Base(n.Dir), nodetest.Binary("kubectl"), "--kubeconfig", filepath.Join(n.Dir, "api", "admin.kubeconfig")}, args...)...)
	c.Env = append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // gone is well
		_ = c.Wait()
	})
	return c, in, bufio.NewReader(out)
}

// ways are the protocols that kubectl speaks.
var ways = map[string][]string{
	"WebSocket": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"},
	"SPDY":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

func TestExecAttachForwardCopy(t *testing.T) {
	create(t, "streams", fmt.Sprintf(`
volumes: [{name: tools, hostPath: {path: %s/tools}}, {name: empty, emptyDir: {}}]
containers:
- {name: c, args: [serve, "8080"], volumeMounts: [{name: tools, mountPath: /bin/tar, subPath: tar}, {name: empty, mountPath: /data}]}
`, n.Dir))
	ready(t, "streams")
	for name, env := range ways {
		t.Run(name, func(t *testing.T) {
			c, _, out := process(t, env, "exec", "streams", "--", "/bin/agent", "echo", "a b", "c")
			text, err := io.ReadAll(out)
			if err := errors.Join(err, c.Wait()); err != nil || string(text) != "a b c\n" {
				t.Errorf("%q %v", text, err)
			}
			c, _, _ = process(t, env, "exec", "streams", "--", "/bin/agent", "exit", "7")
			var exit *exec.ExitError
			if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Errorf("the exit code 7 came as %v", err)
			}
			forward(t, env)
		})
	}
	if out, err := n.Kubectl("exec", "streams", "--", "/none"); err == nil || !strings.Contains(out, "no such file or directory") {
		t.Errorf("%s %v", out, err)
	}
	from := filepath.Join(n.Dir, "copied")
	if err := os.MkdirAll(filepath.Join(from, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("0123456789abcdef", 1<<16)
	if err := os.WriteFile(filepath.Join(from, "sub", "file"), []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "cp", from, "streams:/data/there")
	kubectl(t, "cp", "streams:/data/there/sub/file", filepath.Join(n.Dir, "back"))
	if have, err := os.ReadFile(filepath.Join(n.Dir, "back")); err != nil || string(have) != want {
		t.Errorf("%d bytes came back of %d: %v", len(have), len(want), err)
	}
}

func forward(t *testing.T, env []string) {
	t.Helper()
	_, _, out := process(t, env, "port-forward", "--address=127.0.0.1", "pod/streams", ":8080")
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(line, err)
	}
	m := regexp.MustCompile(`127\.0\.0\.1:(\d+) -> 8080`).FindStringSubmatch(line)
	if m == nil {
		t.Fatal(line)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
	for range 3 {
		res, err := n.HTTP().Get("http://127.0.0.1:" + m[1] + "/calls")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 {
			t.Errorf("%d %s %v", res.StatusCode, raw, err)
		}
	}
}

func TestLogs(t *testing.T) {
	create(t, "logs", `
containers:
- {name: c, args: [lines, "50"]}
restartPolicy: Never
`)
	until(t, "logs", "it has succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	for _, c := range []struct{ args, want string }{
		{"--tail=2", "line 48\nline 49\n"}, {"--limit-bytes=9", "line 0\nli"}, {"--since=1h --tail=1", "line 49\n"}, {"-f --tail=1", "line 49\n"},
		{"--since-time=2100-01-01T00:00:00Z", ""},
	} {
		if have := kubectl(t, append([]string{"logs", "logs"}, strings.Fields(c.args)...)...); have != c.want {
			t.Errorf("%s: %q", c.args, have)
		}
	}
	if have := kubectl(t, "logs", "logs", "--timestamps", "--tail=1"); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:.]{18}\S* line 49\n$`).MatchString(have) {
		t.Errorf("%q", have)
	}
	create(t, "crash", `containers: [{name: c, args: [fail, "1", said, before]}]`)
	until(t, "crash", "it has been restarted", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
	if have := kubectl(t, "logs", "crash", "--previous"); have != "said before\n" {
		t.Errorf("%q", have)
	}
	if out, err := n.Kubectl("logs", "logs", "--previous"); err == nil || !strings.Contains(out, `previous terminated container "c" in pod "logs" not found`) {
		t.Errorf("%s %v", out, err)
	}
	create(t, "pulls", `containers: [{name: c, image: "127.0.0.1:1/none:1"}]`)
	eventually(t, func() error {
		out, err := n.Kubectl("logs", "pulls")
		if err == nil || !strings.Contains(out, `container "c" in pod "pulls" is waiting to start: `) {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})
}

// A follower and one who is attached see what comes, and the end.
func TestFollowAndAttach(t *testing.T) {
	create(t, "follow", `
volumes: [{name: v, emptyDir: {}}]
containers: [{name: c, args: [serve, "8080"]}]
restartPolicy: Never
`)
	ready(t, "follow")
	c, _, out := process(t, nil, "logs", "-f", "follow")
	time.AfterFunc(time.Second, func() { _, _ = n.Kubectl("delete", "pod", "follow", "--grace-period=1", "--wait=false") }) // the end is what is waited for
	if _, err := io.ReadAll(out); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("logs -f of a pod that is deleted: %v", err)
	}
}

func TestNodeProxy(t *testing.T) {
	create(t, "seen", `containers: [{name: c, args: [wait]}]`)
	ready(t, "seen")
	raw := func(path string) string {
		t.Helper()
		return kubectl(t, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/"+path)
	}
	var pods corev1.PodList
	if err := json.Unmarshal([]byte(raw("pods")), &pods); err != nil || len(pods.Items) == 0 {
		t.Error(err, len(pods.Items))
	}
	eventually(t, func() error {
		var s struct {
			Pods []struct {
				PodRef     struct{ Name string }
				Containers []struct {
					Name   string
					Memory struct{ WorkingSetBytes uint64 }
					CPU    struct{ UsageNanoCores *uint64 }
				}
				Network struct{ Name string }
			}
		}
		if err := json.Unmarshal([]byte(raw("stats/summary")), &s); err != nil {
			return err
		}
		for _, p := range s.Pods {
			if p.PodRef.Name == "seen" && len(p.Containers) == 1 && p.Containers[0].Memory.WorkingSetBytes > 0 && p.Containers[0].CPU.UsageNanoCores != nil && p.Network.Name == "eth0" {
				return nil
			}
		}
		return fmt.Errorf("%+v", s)
	})
	for path, want := range map[string]string{
		"healthz": "ok", "metrics": "kubernetes_build_info", "configz": `"kubeletconfig"`, "runningpods/": `"name":"seen"`,
		"metrics/resource": `container_memory_working_set_bytes{container="c",namespace="default",pod="seen"}`,
		"metrics/cadvisor": `container_cpu_usage_seconds_total{container="c",cpu="total"`,
		"logs/":            "<pre>", "flagz": "hostname-override=" + n.Name, "statusz": "Emulation version: 1.37",
	} {
		eventually(t, func() error {
			if have := raw(path); !strings.Contains(have, want) {
				return fmt.Errorf("%s: there is no %s in %.500s", path, want, have)
			}
			return nil
		})
	}
}

// Dashboards and alerts of Kubernetes know these names.
func TestMetricsByName(t *testing.T) {
	create(t, "measured", `containers: [{name: c, args: [serve, "8080"], readinessProbe: {httpGet: {path: /healthz, port: 8080}}}]`)
	ready(t, "measured")
	raw := func(path string) string { return kubectl(t, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/"+path) }
	eventually(t, func() error {
		all := raw("metrics") + raw("metrics/probes")
		for _, name := range []string{
			"kubelet_node_name", "kubelet_running_pods", "kubelet_running_containers", "kubelet_pod_worker_duration_seconds_bucket", "kubelet_pod_start_duration_seconds_count",
			"kubelet_cgroup_manager_duration_seconds_count", "kubelet_pleg_relist_duration_seconds_bucket", "kubelet_pleg_relist_interval_seconds_bucket", "kubelet_pleg_last_seen_seconds",
			"kubelet_runtime_operations_total", "kubelet_runtime_operations_duration_seconds_bucket", `kubelet_started_containers_total{container_type="container"}`, "kubelet_started_pods_total",
			`kubelet_active_pods{static="false"}`, `kubelet_desired_pods{static="true"}`, "kubelet_mirror_pods", "kubelet_certificate_manager_server_ttl_seconds", "kubelet_server_expiration_renew_errors",
			`kubelet_http_requests_total{long_running="false",method="GET",path="metrics",server_type="readwrite"}`, "kubelet_http_inflight_requests", "kubelet_http_requests_duration_seconds_bucket",
			`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="success",volume_plugin="kubernetes.io/projected"}`,
			`volume_manager_total_volumes{plugin_name="kubernetes.io/projected",state="actual_state_of_world"}`, "process_resident_memory_bytes", "go_goroutines", "kubernetes_build_info",
			`prober_probe_total{container="c",namespace="default",pod="measured"`, `prober_probe_duration_seconds_bucket{container="c",namespace="default",pod="measured",probe_type="Readiness"`,
		} {
			if !strings.Contains(all, name) {
				return fmt.Errorf("there is no %s", name)
			}
		}
		return nil
	})
}

// Checkpoints are the runtime's to make; what keeps it from that is told.
func TestCheckpoint(t *testing.T) {
	create(t, "kept", `containers: [{name: c, args: [wait]}]`)
	ready(t, "kept")
	ask := func(path string) string {
		_, err := n.Client.CoreV1().RESTClient().Post().AbsPath("/api/v1/nodes/" + n.Name + "/proxy/checkpoint/" + path).DoRaw(t.Context())
		if err != nil {
			return err.Error()
		}
		return "done"
	}
	if have := ask("default/none/c"); !strings.Contains(have, "not find") && !strings.Contains(have, "not exist") {
		t.Error(have)
	}
	if _, err := exec.LookPath("criu"); err == nil {
		t.Skip("criu is here: see the runtime's own tests for what is in an archive")
	}
	if have := ask("default/kept/c"); have == "done" {
		t.Error("a checkpoint was made without criu")
	}
}
