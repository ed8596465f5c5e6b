package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubectl types what people type.
func TestKubectl(t *testing.T) {
	t.Parallel()
	u := newUser(t, "cli")
	has := func(u user, text string, wanted ...string) {
		u.t.Helper()
		for _, w := range wanted {
			if !strings.Contains(text, w) {
				u.t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	u.apply(workload("ReplicationController", "primary", "replicas: 2"))
	u.placed("app=primary", 2, func([]string) bool { return true })
	u.sub("CL-0df3 api-versions", func(u user) { has(u, "\n"+u.run("api-versions")+"\n", "\nv1\n", "\napps/v1\n") })
	u.sub("CL-d17a cluster-info", func(u user) {
		has(u, u.run("cluster-info"), "Kubernetes control plane", "is running at", running.Members()[0].Address)
	})
	u.sub("CL-2ab6 version", func(u user) { has(u, u.run("version"), "Client Version: v1.", "Server Version: v1.37.") })
	u.sub("CL-1123 expose", func(u user) {
		u.run("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=8080")
		u.has("1234 8080 primary", "service/rm2", "{.spec.ports[0].port} {.spec.ports[0].targetPort} {.spec.selector.app}")
		u.run("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=8080")
		u.has("2345 8080", "service/rm3", "{.spec.ports[0].port} {.spec.ports[0].targetPort}")
		u.until("endpoints of both", func() error {
			for _, s := range []string{"rm2", "rm3"} {
				if got, err := u.endpoints(s); err != nil || len(strings.Fields(got)) != 2 {
					return fmt.Errorf("%s has %q, %v", s, got, err)
				}
			}
			return nil
		})
	})
	u.sub("CL-6966 describe", func(u user) {
		pod := u.get("pods -l app=primary", "{.items[0].metadata.name}")
		has(u, u.run("describe", "pod", pod), "Name:", "Namespace:        cli", "Node:", "Labels:           app=primary", "Status:           Running", "IP:", "Controlled By:  ReplicationController/primary", "Image:", "State:          Running", "QoS Class:")
		has(u, u.run("describe", "rc", "primary"), "Name:         primary", "Selector:     app=primary", "Replicas:     2 current / 2 desired", "Pods Status:  2 Running / 0 Waiting / 0 Succeeded / 0 Failed", "Pod Template:", "Events:")
		has(u, u.run("describe", "service", "rm2"), "Name:", "Selector:", "app=primary", "Type:", "ClusterIP", "IP:", "Port:", "1234/TCP", "Endpoints:", "Session Affinity:")
		has(u, u.run("describe", "node", running.Members()[0].Name), "Name:", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "MemoryPressure", "DiskPressure", "PIDPressure", "Addresses:", "Capacity:", "Version:", "Pods:")
		has(u, u.run("describe", "namespace", "cli"), "Name:", "Labels:", "Annotations:", "Status:", "Active")
	})
	u.sub("CL-f9a0 label", func(u user) {
		pod := u.get("pods -l app=primary", "{.items[0].metadata.name}")
		u.run("label", "pod", pod, "testing-label=testing-label-value")
		has(u, u.run("get", "pod", pod, "-L", "testing-label"), "TESTING-LABEL", "testing-label-value")
		u.run("label", "pod", pod, "testing-label-")
		if out := u.run("get", "pod", pod, "-L", "testing-label"); strings.Contains(out, "testing-label-value") {
			u.t.Errorf("the label is still there:\n%s", out)
		}
	})
	u.sub("CL-b6bc patch", func(u user) {
		for pod := range strings.FieldsSeq(u.get("pods -l app=primary", "{.items[*].metadata.name}")) {
			u.run("patch", "pod", pod, "-p", `{"metadata":{"annotations":{"x":"y"}}}`)
		}
		u.has("y y", "pods -l app=primary", "{.items[*].metadata.annotations.x}")
	})
	u.sub("CL-14e8 CL-d10a CL-0b50 run, replace, and no more than try", func(u user) {
		u.run("run", "one", "--image="+busybox, "--restart=Never", "--", "sleep", "100000")
		u.has(busybox+" one", "pod/one", "{.spec.containers[*].image} {.spec.containers[*].name}")
		u.ready("pod/one")
		out := u.run("patch", "pod", "one", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}", "-p", `{"spec":{"containers":[{"name":"one","image":"`+web+`"}]}}`)
		if out != web {
			u.t.Errorf("the dry run has image %q", out)
		}
		u.has(busybox, "pod/one", "{.spec.containers[0].image}")
		u.until("it is replaced", func() error { // the kubelet's own writes may come between
			return u.in(strings.ReplaceAll(u.run("get", "pod", "one", "-o", "json"), busybox, web)).try("replace", "-f", "-")
		})
		u.has(web, "pod/one", "{.spec.containers[0].image}")
		u.run("delete", "pod", "one", "--now")
	})
	u.sub("CL-b3bb proxy at a port of its choice", func(u user) {
		u.proxy([]string{"-p", "0"}, func(said string) (*http.Client, string) {
			return http.DefaultClient, "http://" + strings.TrimPrefix(said, "Starting to serve on ")
		})
	})
	u.sub("CL-f244 proxy at a socket", func(u user) {
		socket := filepath.Join(u.t.TempDir(), "s")
		u.proxy([]string{"--unix-socket=" + socket}, func(string) (*http.Client, string) {
			return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", socket)
			}}}, "http://localhost"
		})
	})
}

// proxy runs kubectl's, and asks it which versions there are.
func (u user) proxy(args []string, at func(said string) (*http.Client, string)) {
	ctx, cancel := context.WithTimeout(u.t.Context(), limit)
	defer cancel()
	c := u.command(ctx, append([]string{"proxy"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		u.t.Fatal(err)
	}
	defer func() { cancel(); _ = c.Wait() }() // it ends by being killed
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		u.t.Fatal(err)
	}
	client, url := at(strings.TrimSpace(line))
	u.until("it answers", func() error {
		resp, err := client.Get(url + "/api/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(text), `"v1"`) {
			err = fmt.Errorf("%s: %s", resp.Status, text)
		}
		return err
	})
}
