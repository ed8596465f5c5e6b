package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// fromNode calls a URL from a node's own network.
func fromNode(i int, url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := running.Members()[i].Command(ctx, "busybox", "timeout", "5", "wget", "-qO-", url).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

func (u user) nodeHears(want string, i int, url string) string {
	u.t.Helper()
	var got string
	u.until(fmt.Sprintf("node %d hears %q at %s", i, want, url), func() (err error) {
		got, err = fromNode(i, url)
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("it hears %q", got)
		}
		return err
	})
	return got
}

func TestServices(t *testing.T) {
	t.Parallel()
	u := newUser(t, "services")
	u.run("create", "deployment", "web", "--image="+web, "--replicas=2")
	u.run("expose", "deployment", "web", "--name=cluster", "--port=80", "--target-port=8080")
	u.run("expose", "deployment", "web", "--name=node", "--type=NodePort", "--port=80", "--target-port=8080")
	u.run("expose", "deployment", "web", "--name=external", "--port=80", "--target-port=8080", "--external-ip=192.0.2.77")
	u.run("expose", "deployment", "web", "--name=sticky", "--port=80", "--target-port=8080", "--session-affinity=ClientIP")
	u.rolledOut("deployment/web")
	u.client("client")
	u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://cluster")
	port := u.get("service/node", "{.spec.ports[0].nodePort}")
	for i, n := range running.Members() {
		u.nodeHears("Hello from web-", i, "http://"+n.Address+":"+port)
		u.nodeHears("Hello from web-", (i+1)%len(running.Members()), "http://"+n.Address+":"+port)
		u.nodeHears("Hello from web-", i, "http://"+u.get("service/cluster", "{.spec.clusterIP}"))
	}
	u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://192.0.2.77")
	first := host(u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://sticky"))
	for range 5 {
		if now := host(u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://sticky")); now != first {
			t.Errorf("a client of a sticky service came from %s to %s", first, now)
		}
	}
	// The server of a Service sees the pod's own address.
	u.says("by "+u.get("pod/client", "{.status.podIP}")+":", "client", "timeout", "5", "wget", "-qO-", "http://cluster")
	// Without endpoints the client is told at once.
	u.run("scale", "deployment/web", "--replicas=0")
	u.until("the service refuses", func() error {
		_, err := u.output("exec", "client", "--", "timeout", "5", "wget", "-qO-", "http://cluster")
		if err == nil || !strings.Contains(err.Error(), "refused") {
			return fmt.Errorf("wget says %v", err)
		}
		return nil
	})
}

func host(answer string) string {
	words := strings.Fields(answer)
	if len(words) < 3 {
		return answer
	}
	return words[2]
}

func TestLocalPolicy(t *testing.T) {
	t.Parallel()
	u := newUser(t, "local")
	here, there := running.Members()[0], running.Members()[1]
	u.apply(`
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: ` + here.Name + `, containers: [{name: web, image: ` + web + `}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`)
	u.ready("pod/web")
	port := u.get("service/web", "{.spec.ports[0].nodePort}")
	// The client's address is seen, and a node without endpoints does not answer.
	u.nodeHears("by "+there.Address+":", 1, "http://"+here.Address+":"+port)
	if out, err := fromNode(0, "http://"+there.Address+":"+port); err == nil {
		t.Errorf("a node without endpoints answers: %s", out)
	}
}

func TestDNS(t *testing.T) {
	t.Parallel()
	u := newUser(t, "dns")
	u.run("create", "deployment", "web", "--image="+web, "--replicas=2")
	u.run("create", "service", "clusterip", "web", "--tcp=80:8080")
	u.apply(`
apiVersion: v1
kind: Service
metadata: {name: bare}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
`)
	u.run("create", "service", "externalname", "far", "--external-name=kubernetes.default.svc.cluster.local")
	u.rolledOut("deployment/web")
	u.client("client")
	u.run("run", "asks", "--image="+agent, "--", "serve")
	u.ready("pod/asks")
	const server = "10.96.0.10"
	both := func(u user, want, name string) {
		for _, network := range []string{"udp", "tcp"} {
			u.call(want, "asks", "name", network, server, name)
		}
	}
	u.sub("NE-ad4a the cluster's own name", func(u user) {
		both(u, "addresses 10.96.0.1", "kubernetes.default.svc.cluster.local.")
		u.says("10.96.0.1", "client", "nslookup", "kubernetes.default.svc.cluster.local")
	})
	u.sub("NE-d42c Services, with and without an address", func(u user) {
		both(u, u.get("service/web", "{.spec.clusterIP}"), "web.dns.svc.cluster.local.")
		for ip := range strings.FieldsSeq(u.get("pods -l app=web", "{.items[*].status.podIP}")) {
			both(u, ip, "bare.dns.svc.cluster.local.")
		}
		u.says("8080", "client", "nslookup", "-type=srv", "_http._tcp.bare.dns.svc.cluster.local")
		u.says("80 web.dns.svc.cluster.local", "client", "nslookup", "-type=srv", "_80-8080._tcp.web.dns.svc.cluster.local")
		u.says("web.dns.svc.cluster.local", "client", "nslookup", u.get("service/web", "{.spec.clusterIP}"))
	})
	both(u, "canonical kubernetes.default.svc.cluster.local.", "far.dns.svc.cluster.local.")
	u.sub("NE-59ba NE-81cd a pod's own name", func(u user) {
		u.apply(`{apiVersion: v1, kind: Service, metadata: {name: sub}, spec: {clusterIP: None, selector: {app: named}, ports: [{name: http, port: 8080}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: named, labels: {app: named}}, spec: {hostname: me, subdomain: sub, terminationGracePeriodSeconds: 1, containers: [{name: c, image: ` + busybox + `, command: [sleep, '100000']}]}}`)
		u.ready("pod/named")
		both(u, u.get("pod/named", "{.status.podIP}"), "me.sub.dns.svc.cluster.local.")
		if got := u.run("exec", "named", "--", "sh", "-c", "hostname; hostname -f"); got != "me\nme.sub.dns.svc.cluster.local" {
			u.t.Errorf("it is called %q", got)
		}
	})
}

// TestHostPort reaches a pod by its node's port, from the node's loopback too.
func TestHostPort(t *testing.T) {
	t.Parallel()
	u := newUser(t, "hostport")
	n := running.Members()[0]
	u.apply(`
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: ` + n.Name + `, containers: [{name: web, image: ` + web + `, ports: [{containerPort: 8080, hostPort: 18080}]}]}
`)
	u.ready("pod/web")
	u.nodeHears("Hello from web", 0, "http://127.0.0.1:18080")
	u.nodeHears("Hello from web", 1, "http://"+n.Address+":18080")
}
