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
		"logs/":            "<pre>",
	} {
		eventually(t, func() error {
			if have := raw(path); !strings.Contains(have, want) {
				return fmt.Errorf("%s: there is no %s in %.500s", path, want, have)
			}
			return nil
		})
	}
}
