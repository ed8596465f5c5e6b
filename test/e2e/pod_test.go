package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	u := newUser(t, "streams")
	u.run("create", "deployment", "web", "--image="+web)
	u.rolledOut("deployment/web")
	u.client("client")
	if got := u.in("hello\n").run("exec", "-i", "client", "--", "cat"); got != "hello" {
		t.Errorf("exec says %q", got)
	}
	err := u.try("exec", "client", "--", "sh", "-c", "exit 7")
	if err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Errorf("exec of exit 7: %v", err)
	}
	// Copy there and back.
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	want := strings.Repeat("0123456789abcdef", 1<<14)
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	u.run("cp", file, "client:/tmp/file")
	u.run("cp", "client:/tmp/file", file+".back")
	if got, err := os.ReadFile(file + ".back"); err != nil || string(got) != want {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	followed(t, u)
	forwarded(t, u)
	attached(u)
}

// attached talks with the process that a container was started with.
func attached(u user) {
	u.run("run", "echoes", "--image="+busybox, "--restart=Never", "--stdin", "--attach=false", "--", "sh", "-c", "echo began; while read line; do echo \"heard $line\"; done; echo ended")
	u.ready("pod/echoes")
	ctx, cancel := context.WithTimeout(u.t.Context(), limit)
	defer cancel()
	c := u.command(ctx, "attach", "-q", "-i", "echoes")
	in, hold := io.Pipe()
	c.Stdin = in
	out, err := c.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		u.t.Fatal(err)
	}
	heard := bufio.NewReader(out)
	for _, word := range []string{"one", "two"} {
		fmt.Fprintln(hold, word)
		if line, err := heard.ReadString('\n'); err != nil || line != "heard "+word+"\n" {
			u.t.Errorf("after %s attach says %q, %v", word, line, err)
		}
	}
	// Another looks on.
	other, lookOn := context.WithCancel(ctx)
	defer lookOn()
	second := u.command(other, "attach", "-q", "echoes")
	seen, err := second.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		u.t.Fatal(err)
	}
	watched := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(seen); s.Scan(); {
			watched <- s.Text()
		}
		close(watched)
	}()
	u.until("the second hears too", func() error {
		fmt.Fprintln(hold, "three")
		if line, err := heard.ReadString('\n'); err != nil || line != "heard three\n" {
			u.t.Fatalf("attach says %q, %v", line, err)
		}
		select {
		case line := <-watched:
			if line != "heard three" {
				u.t.Errorf("the second says %q", line)
			}
			return nil
		default:
			return errNotYet
		}
	})
	lookOn()
	_ = second.Wait() // it ends by being killed
	cancel()
	hold.Close()
	_ = c.Wait() // so does the first
	if log := u.run("logs", "echoes"); !strings.HasPrefix(log, "began\nheard one\nheard two\nheard three") {
		u.t.Errorf("the log is %q", log)
	}
	u.run("delete", "pod", "echoes", "--now")
}

// followed reads a log while it grows.
func followed(t *testing.T, u user) {
	u.run("run", "talker", "--image="+busybox, "--restart=Never", "--", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done")
	u.until("talker has started", func() error {
		out, err := u.output("get", "pod", "talker", "-o", "jsonpath={.status.phase}")
		if err == nil && out == "Pending" {
			err = errNotYet
		}
		return err
	})
	if got := u.run("logs", "-f", "talker"); got != "line 1\nline 2\nline 3" {
		t.Errorf("the log is %q", got)
	}
	if got := u.run("logs", "talker", "--tail=1"); got != "line 3" {
		t.Errorf("its end is %q", got)
	}
	u.run("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/talker", "--timeout="+limit.String())
}

func forwarded(t *testing.T, u user) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := u.command(ctx, "port-forward", "deployment/web", ":8080")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = c.Wait() }() // it ends by being killed
	line, err := bufio.NewReader(out).ReadString('\n')
	var port int
	if _, scanErr := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &port); scanErr != nil {
		t.Fatalf("port-forward says %q, %v", line, err)
	}
	for range 3 {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(text), "Hello from web-") {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestVolumesFollow: a mounted ConfigMap and Secret become what they are.
func TestVolumesFollow(t *testing.T) {
	t.Parallel()
	u := newUser(t, "volumes")
	u.run("create", "configmap", "settings", "--from-literal=color=green")
	u.run("create", "secret", "generic", "key", "--from-literal=key=one")
	u.apply(`
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  containers:
  - name: c
    image: ` + busybox + `
    command: [sleep, '100000']
    volumeMounts: [{name: all, mountPath: /all}]
  volumes:
  - name: all
    projected:
      sources:
      - configMap: {name: settings}
      - secret: {name: key}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
`)
	u.ready("pod/reader")
	u.says("green one reader", "reader", "sh", "-c", "echo $(cat /all/color) $(cat /all/key) $(cat /all/name)")
	u.run("patch", "configmap", "settings", "-p", `{"data":{"color":"blue"}}`)
	u.run("patch", "secret", "key", "-p", `{"stringData":{"key":"two"}}`)
	u.says("blue two", "reader", "sh", "-c", "echo $(cat /all/color) $(cat /all/key)")
}

const lives = `
apiVersion: v1
kind: Pod
metadata: {name: lives, labels: {app: lives}}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - {name: first, image: ` + busybox + `, command: [sh, -c, 'echo first > /shared/order'], volumeMounts: [{name: shared, mountPath: /shared}]}
  - name: beside
    image: ` + busybox + `
    restartPolicy: Always
    command: [sh, -c, 'sleep 2; echo beside >> /shared/order; exec sleep 100000']
    startupProbe: {exec: {command: [grep, beside, /shared/order]}, periodSeconds: 1}
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: main
    image: ` + busybox + `
    command: [sh, -c, 'echo main >> /shared/order; touch /shared/alive /shared/ready; exec sleep 100000']
    startupProbe: {exec: {command: [test, -e, /shared/ready]}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}
    livenessProbe: {exec: {command: [test, -e, /shared/alive]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60, terminationGracePeriodSeconds: 1}
    readinessProbe: {exec: {command: [test, -e, /shared/ready]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60}
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping > /shared/stopped']}}}
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: lives}
spec: {selector: {app: lives}, ports: [{port: 80}]}
`

// TestPodLife: containers in order, probes that restart and un-ready, and what
// the kernel kills.
func TestPodLife(t *testing.T) {
	t.Parallel()
	u := newUser(t, "life")
	u.apply(lives)
	u.ready("pod/lives")
	u.sub("NO-bca8 containers in their order", func(u user) {
		if got := u.run("exec", "lives", "-c", "main", "--", "cat", "/shared/order"); got != "first\nbeside\nmain" {
			u.t.Errorf("containers began in the order %q", got)
		}
		u.has("True 0", "pod/lives", `{.status.conditions[?(@.type=="Initialized")].status} {.status.initContainerStatuses[0].state.terminated.exitCode}`)
	})
	endpoint := "{.items[*].endpoints[*].conditions.ready}"
	u.has("true", "endpointslices -l kubernetes.io/service-name=lives", endpoint)
	u.run("exec", "lives", "-c", "main", "--", "rm", "/shared/ready")
	u.has("false", "endpointslices -l kubernetes.io/service-name=lives", endpoint)
	u.run("exec", "lives", "-c", "main", "--", "rm", "/shared/alive")
	u.has("1", "pod/lives", `{.status.containerStatuses[?(@.name=="main")].restartCount}`)
	u.has("true", "endpointslices -l kubernetes.io/service-name=lives", endpoint)

	u.run("run", "hungry", "--image="+busybox, "--restart=Never", `--overrides={"spec":{"containers":[{"name":"hungry","image":"`+busybox+`","command":["tail","/dev/zero"],"resources":{"limits":{"memory":"24Mi"}}}]}}`)
	u.has("OOMKilled", "pod/hungry", "{.status.containerStatuses[0].state.terminated.reason}")
	u.has("Failed", "pod/hungry", "{.status.phase}")
}

// TestToken: the token in a pod is the pod's, and has the rights of its
// account.
func TestToken(t *testing.T) {
	t.Parallel()
	u := newUser(t, "token")
	u.run("create", "role", "reader", "--verb=get,list", "--resource=pods")
	u.run("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=token:default")
	u.client("client")
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte(u.run("exec", "client", "--", "cat", dir+"ca.crt")), 0o600); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) (string, error) {
		return u.output(append([]string{"--kubeconfig=/dev/null", "--server=https://" + running.Members()[0].Address + ":6443", "--certificate-authority=" + ca,
			"--token=" + u.run("exec", "client", "--", "cat", dir+"token")}, args...)...)
	}
	if got, err := as("get", "pods", "-o", "name"); err != nil || got != "pod/client" {
		t.Errorf("pods: %q, %v", got, err)
	}
	if _, err := as("get", "secrets"); err == nil || !strings.Contains(err.Error(), "system:serviceaccount:token:default") {
		t.Errorf("secrets: %v", err)
	}
	if got := u.run("exec", "client", "--", "cat", dir+"namespace"); got != "token" {
		t.Errorf("the namespace is %q", got)
	}
	// A pod that is gone takes its token with it.
	token := u.run("exec", "client", "--", "cat", dir+"token")
	u.run("delete", "pod", "client", "--now")
	u.until("the token of a pod that is gone is refused", func() error {
		if err := u.try("--kubeconfig=/dev/null", "--server=https://"+running.Members()[0].Address+":6443", "--certificate-authority="+ca, "--token="+token, "get", "pods"); err == nil {
			return errNotYet
		}
		return nil
	})
}
