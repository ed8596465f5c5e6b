package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// probed is a pod of a container for each way to ask it how it is, once it has
// started: what does not listen yet on a machine that does much else is not ill.
const probed = `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: probed}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: http, image: ` + agent + `, args: [serve, '8080', '8081'], startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}, livenessProbe: {httpGet: {path: '%s', port: 8080}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60}}
  - {name: tcp, image: ` + agent + `, args: [serve, '8090', '8091'], startupProbe: {tcpSocket: {port: 8090}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}, livenessProbe: {tcpSocket: {port: %d}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60}}
  - {name: grpc, image: ` + agent + `, args: [grpc, '9000'], startupProbe: {tcpSocket: {port: 9000}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}, livenessProbe: {grpc: {port: %d}, periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 60}}
  - {name: exec, image: ` + busybox + `, command: [sh, -c, 'touch /tmp/alive; sleep 100000'], startupProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}, livenessProbe: {exec: {command: [test, %s, /tmp/alive]}, periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 60}}
  - {name: late, image: ` + agent + `, args: [serve, '8070', '8071'], readinessProbe: {httpGet: {path: /hostname, port: 8070}, initialDelaySeconds: 4, periodSeconds: 1, timeoutSeconds: 60}}
  - {name: never, image: ` + agent + `, args: [serve, '8060', '8061'], readinessProbe: {httpGet: {path: /status/500, port: 8060}, periodSeconds: 1, timeoutSeconds: 60}}
---
`

func TestProbes(t *testing.T) {
	t.Parallel()
	u := newUser(t, "probes")
	u.apply(fmt.Sprintf(probed, "well", "/hostname", 8090, 9000, "-e") + fmt.Sprintf(probed, "ill", "/status/500", 8099, 9001, "'!', -e"))
	restarts := func(pod, container string) string {
		return u.get("pod/"+pod, `{.status.containerStatuses[?(@.name=="`+container+`")].restartCount}`)
	}
	for _, c := range []struct{ id, container string }{{"NO-4c60", "http"}, {"NO-9c31", "grpc"}, {"NO-ab98", "exec"}, {"the same", "tcp"}} {
		u.sub(c.id+" a container that is ill by "+c.container+" is restarted", func(u user) {
			u.until("it is restarted", func() error {
				if restarts("ill", c.container) == "0" {
					return errNotYet
				}
				return nil
			})
		})
	}
	for _, c := range []struct{ id, container string }{{"NO-de5c", "http"}, {"NO-5868", "grpc"}, {"NO-5f41", "exec"}, {"NO-eac5", "tcp"}} {
		u.sub(c.id+" a container that is well by "+c.container+" goes on", func(u user) {
			if n := restarts("well", c.container); n != "0" {
				u.t.Errorf("it was restarted %s times", n)
			}
		})
	}
	u.sub("NO-70fc not ready before its time", func(u user) {
		u.has("true", "pod/well", `{.status.containerStatuses[?(@.name=="late")].ready}`)
		p, err := api.CoreV1().Pods(u.namespace).Get(u.t.Context(), "well", metav1.GetOptions{})
		if err != nil {
			u.t.Fatal(err)
		}
		for _, s := range p.Status.ContainerStatuses {
			// Seconds are cut off.
			if s.Name == "late" && (s.State.Running == nil || time.Since(s.State.Running.StartedAt.Time) < 4*time.Second || s.RestartCount != 0) {
				u.t.Errorf("it is ready, started %v", s.State)
			}
		}
	})
	u.sub("NO-ba10 never ready, never restarted", func(u user) {
		u.has("false 0 Running", "pod/well", `{.status.containerStatuses[?(@.name=="never")].ready} {.status.containerStatuses[?(@.name=="never")].restartCount} {.status.phase}`)
	})
}

// TestPods: a pod's life as its clients see it.
func TestPods(t *testing.T) {
	t.Parallel()
	u := newUser(t, "pods")
	u.sub("NO-8995 NO-9f42 NO-86c5 NO-9a8f submitted, changed, removed", submitted)
	u.sub("NO-f8bf NO-69f6 generations", generations)
	u.sub("NO-2301 a condition of others", func(u user) {
		u.apply(server("gated", "app: gated", "readinessGates: [{conditionType: example.com/open}],"))
		u.has("Running", "pod/gated", "{.status.phase}")
		for _, status := range []string{"True", "False"} {
			doc := fmt.Sprintf(`{"status":{"conditions":[{"type":"example.com/open","status":%q}]}}`, status)
			if _, err := api.CoreV1().Pods(u.namespace).Patch(u.t.Context(), "gated", types.StrategicMergePatchType, []byte(doc), metav1.PatchOptions{}, "status"); err != nil {
				u.t.Fatal(err)
			}
			u.has(status, "pod/gated", readyOf)
		}
		u.run("delete", "pod", "gated", "--wait=false")
	})
	u.sub("NO-f05b NO-3588 containers that come later", ephemeral)
	u.sub("NO-05d8 logs over a WebSocket", socketLogs)
	u.sub("NO-95d3 NO-574c a pod that fails again and again", func(u user) {
		u.run("run", "fails", "--image="+busybox, "--command", "--", "false")
		u.has("Error", "pod/fails", "{.status.containerStatuses[0].lastState.terminated.reason}")
		u.run("delete", "pod", "fails")
	})
	u.sub("NO-65ff NO-f3c7 hooks that are commands", func(u user) {
		u.apply(server("hears", "app: hears", ""))
		u.ready("pod/hears")
		url := "http://" + u.get("pod/hears", "{.status.podIP}") + ":8080/"
		u.apply(`{apiVersion: v1, kind: Pod, metadata: {name: hooks}, spec: {containers: [{name: c, image: '` + busybox + `', command: [sh, -c, 'trap exit TERM; while true; do sleep 0.1; done'], lifecycle: {
			postStart: {exec: {command: [wget, -qO-, '` + url + `started']}}, preStop: {exec: {command: [wget, -qO-, '` + url + `stopping']}}}}]}}`)
		u.ready("pod/hooks")
		// A log comes a moment after what it tells of.
		calls := func(when string, started, stopping int) {
			u.until(when+" it says how it is, once", func() error {
				log, err := u.output("logs", "hears")
				if a, b := strings.Count(log, "GET /started"), strings.Count(log, "GET /stopping"); err == nil && (a != started || b != stopping) {
					err = fmt.Errorf("it has said %d times that it started, %d times that it stops", a, b)
				}
				return err
			})
		}
		calls("while it runs", 1, 0)
		u.run("delete", "pod", "hooks")
		calls("at its end", 1, 1)
	})
	u.sub("NO-6f80 an image's own command", func(u user) {
		u.apply(`{apiVersion: v1, kind: Pod, metadata: {name: own}, spec: {restartPolicy: Never, containers: [{name: c, image: '` + agent + `', terminationMessagePolicy: FallbackToLogsOnError}]}}`)
		u.has("1", "pod/own", "{.status.containerStatuses[0].state.terminated.exitCode}")
		if got := u.get("pod/own", "{.status.containerStatuses[0].state.terminated.message}"); !strings.HasPrefix(got, "client: no verb") {
			u.t.Errorf("it says %q", got)
		}
	})
	u.sub("NO-9735 last words of a user at a path of its own", func(u user) {
		u.apply(`{apiVersion: v1, kind: Pod, metadata: {name: words}, spec: {restartPolicy: Never, securityContext: {runAsUser: 1000}, containers: [{name: c, image: '` + busybox + `', terminationMessagePath: /dev/termination-custom-log, command: [sh, -c, 'echo -n DONE > /dev/termination-custom-log']}]}}`)
		u.has("DONE", "pod/words", "{.status.containerStatuses[0].state.terminated.message}")
	})
	u.sub("NO-d985 NO-2a51 keys that are empty", func(u user) {
		for _, kind := range []string{"ConfigMap", "Secret"} {
			if err := refuses(u.in(`{apiVersion: v1, kind: `+kind+`, metadata: {name: empty}, data: {"": YQ==}}`).try("create", "-f", "-"), "is invalid"); err != nil {
				u.t.Error(err)
			}
		}
	})
	u.sub("NO-88c1 NO-c7bd NO-db87 runtime classes", runtimeClasses)
}

func submitted(u user) {
	pods := api.CoreV1().Pods(u.namespace)
	selector := metav1.ListOptions{LabelSelector: "time=now"}
	list, err := pods.List(u.t.Context(), selector)
	if err != nil || len(list.Items) > 0 {
		u.t.Fatalf("before, there are %v, %v", list, err)
	}
	w, err := pods.Watch(u.t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		u.t.Fatal(err)
	}
	defer w.Stop()
	sees := func(kind watch.EventType, is func(*corev1.Pod) bool) *corev1.Pod {
		u.t.Helper()
		end := time.After(limit)
		for {
			select {
			case e, open := <-w.ResultChan():
				if !open {
					u.t.Fatal("the watch ended")
				}
				if p, ok := e.Object.(*corev1.Pod); ok && p.Name == "submitted" && e.Type == kind && is(p) {
					return p
				}
			case <-end:
				u.t.Fatalf("no such %s event", kind)
			}
		}
	}
	u.apply(server("submitted", "time: now", ""))
	sees(watch.Added, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending })
	p := sees(watch.Modified, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if host := p.Status.HostIP; host == "" || len(p.Status.HostIPs) != 1 || p.Status.HostIPs[0].IP != host {
		u.t.Errorf("the node's address is %q, its addresses %v", host, p.Status.HostIPs)
	}
	u.run("label", "pod", "submitted", "time=later", "--overwrite")
	sees(watch.Modified, func(p *corev1.Pod) bool { return p.Labels["time"] == "later" })
	u.has("submitted", "pods -l time=later", "{.items[*].metadata.name}")
	u.run("delete", "pod", "submitted", "--wait=false")
	sees(watch.Modified, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	sees(watch.Deleted, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	u.has("", "pods -l time=later", "{.items[*].metadata.name}")
}

func generations(u user) {
	u.apply(strings.Replace(server("counted", "app: counted", ""), "metadata: {", "metadata: {generation: 100, ", 1))
	generation := func(want string) { u.t.Helper(); u.has(want, "pod/counted", "{.metadata.generation}") }
	u.ready("pod/counted")
	generation("1")
	u.has("1", "pod/counted", "{.status.observedGeneration}")
	u.run("label", "pod", "counted", "a=b")
	generation("1")
	u.run("patch", "pod", "counted", "-p", `{"spec":{"activeDeadlineSeconds":10000}}`)
	generation("2")
	u.has("2", "pod/counted", "{.status.observedGeneration}")
	// Its process ends at once, its kubelet's answer takes a moment: the watch has it.
	w, err := api.CoreV1().Pods(u.namespace).Watch(u.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=counted"})
	if err != nil {
		u.t.Fatal(err)
	}
	defer w.Stop()
	u.run("delete", "pod", "counted", "--wait=false")
	for {
		e := u.event(w)
		if p, ok := e.Object.(*corev1.Pod); ok && p.DeletionTimestamp != nil {
			if p.Generation != 3 {
				u.t.Errorf("a pod that is being deleted is of generation %d, expected 3", p.Generation)
			}
			return
		}
	}
}

func ephemeral(u user) {
	u.apply(server("debugged", "app: debugged", ""))
	u.ready("pod/debugged")
	pods := api.CoreV1().Pods(u.namespace)
	container := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"image":%q,"command":["sh","-c","echo %s is here; sleep 100000"]}`, name, busybox, name)
	}
	doc := `{"spec":{"ephemeralContainers":[` + container("first") + `]}}`
	if _, err := pods.Patch(u.t.Context(), "debugged", types.StrategicMergePatchType, []byte(doc), metav1.PatchOptions{}, "ephemeralcontainers"); err != nil {
		u.t.Fatal(err)
	}
	running := func(name string) {
		u.until(name+" runs", func() error {
			out, err := u.output("get", "pod", "debugged", "-o", `jsonpath={.status.ephemeralContainerStatuses[?(@.name=="`+name+`")].state.running.startedAt}`)
			if err == nil && out == "" {
				err = errNotYet
			}
			return err
		})
		u.until(name+" is heard", func() error {
			out, err := u.output("logs", "debugged", "-c", name)
			if err == nil && out != name+" is here" {
				err = fmt.Errorf("it says %q", out)
			}
			return err
		})
	}
	running("first")
	u.until("a second by an update", func() error {
		p, err := pods.Get(u.t.Context(), "debugged", metav1.GetOptions{})
		if err != nil {
			return err
		}
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "second", Image: busybox, Command: []string{"sh", "-c", "echo second is here; sleep 100000"}}})
		_, err = pods.UpdateEphemeralContainers(u.t.Context(), "debugged", p, metav1.UpdateOptions{})
		return err
	})
	running("second")
	p, err := pods.Get(u.t.Context(), "debugged", metav1.GetOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
	p.Spec.EphemeralContainers = p.Spec.EphemeralContainers[:1]
	if _, err = pods.UpdateEphemeralContainers(u.t.Context(), "debugged", p, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
		u.t.Errorf("one is taken away: %v", err)
	}
	u.run("delete", "pod", "debugged", "--wait=false")
}

// socketLogs reads a log as bytes of WebSocket frames, by hand: a server sends
// them unmasked, and these are short.
func socketLogs(u user) {
	u.run("run", "talks", "--image="+busybox, "--restart=Never", "--", "echo", "container is alive")
	u.over("talks")
	c, err := rest.TLSConfigFor(config)
	if err != nil {
		u.t.Fatal(err)
	}
	c.NextProtos = []string{"http/1.1"}
	host := strings.TrimPrefix(config.Host, "https://")
	conn, err := tls.Dial("tcp", host, c)
	if err != nil {
		u.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		u.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /api/v1/namespaces/%s/pods/talks/log?container=talks HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary.k8s.io\r\n\r\n", u.namespace, host)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != "binary.k8s.io" {
		u.t.Fatalf("the answer is %v, %v", resp, err)
	}
	var said strings.Builder
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break // it ends without a last frame, or with one
		}
		size := int64(head[1] & 0x7f)
		if size == 126 {
			var long [2]byte
			if _, err := io.ReadFull(r, long[:]); err != nil {
				u.t.Fatal(err)
			}
			size = int64(binary.BigEndian.Uint16(long[:]))
		}
		if head[0]&0xf == 8 {
			break
		}
		if _, err := io.CopyN(&said, r, size); err != nil {
			u.t.Fatal(err)
		}
	}
	if got := said.String(); got != "container is alive\n" {
		u.t.Errorf("the log is %q", got)
	}
}

func runtimeClasses(u user) {
	pod := func(name, class string) string {
		return server(name, "app: "+name, "runtimeClassName: "+class+",")
	}
	if err := refuses(u.in(pod("missing", "e2e-missing")).try("create", "-f", "-"), "forbidden"); err != nil {
		u.t.Error(err)
	}
	u.apply(`{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: e2e-usual}, handler: runc}`)
	u.apply(pod("usual", "e2e-usual"))
	u.ready("pod/usual")
	if overhead := u.get("pod/usual", "{.spec.overhead}"); overhead != "" {
		u.t.Errorf("its overhead is %s", overhead)
	}
	u.run("delete", "runtimeclass", "e2e-usual")
	u.until("its class is gone", func() error {
		return refuses(u.in(pod("deleted", "e2e-usual")).try("create", "-f", "-"), "forbidden")
	})
}
