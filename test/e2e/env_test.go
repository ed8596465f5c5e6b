package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const downEnv = `env: [{name: A, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu}}},
	{name: C, valueFrom: {resourceFieldRef: {resource: requests.memory}}}, {name: D, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]`

// environment prints variables that the shell itself would drop for their names.
func environment(value string) string {
	return `tr '\0' '\n' < /proc/1/environ | grep =` + value + ` | sort`
}

// environments are what containers find in their environment, in their
// arguments, and of their own doing.
var environments = []said{
	{id: "NO-9716 ConfigMap's keys with odd prefixes", container: `envFrom: [{prefix: '1-', configMapRef: {name: settings}}, {prefix: '$_', configMapRef: {name: settings}}]`, script: environment("value-1"), want: "$_one=value-1 1-one=value-1"},
	{id: "NO-acfc variable of a ConfigMap", container: `env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: one}}}]`, script: "echo $A", want: "value-1"},
	{id: "NO-6d80 all keys of a ConfigMap", container: `envFrom: [{configMapRef: {name: settings}}, {prefix: p_, configMapRef: {name: settings}}]`, script: "echo $one $two $p_one", want: "value-1 value-2 value-1"},
	{id: "NO-781e Secret's keys with odd prefixes", container: `envFrom: [{prefix: '1-', secretRef: {name: keys}}, {prefix: '$_', secretRef: {name: keys}}]`, script: environment("secret-1"), want: "$_one=secret-1 1-one=secret-1"},
	{id: "NO-1330 variable of a Secret", container: `env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: one}}}]`, script: "echo $A", want: "secret-1"},
	{id: "NO-919d all keys of a Secret", container: `envFrom: [{secretRef: {name: keys}}, {prefix: p_, secretRef: {name: keys}}]`, script: "echo $one $p_one", want: "secret-1 secret-1"},
	{id: "NO-0ff4 resources in variables", container: downEnv + ", " + resources, script: "echo $A $B $C $D", want: "1 2 8388608 64"},
	{id: "NO-ece5 name, namespace and address", container: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]`,
		script: `echo $A $B; ip -4 -o addr show eth0 | grep -q " $C/" && echo same`, want: "env-0 env same"},
	{id: "NO-00cc variables of variables", container: `env: [{name: A, value: a}, {name: B, value: 'b $(A) $$(A) $(NONE)'}]`, script: `echo "$B"`, want: "b a $(A) $(NONE)"},
	{id: "NO-59f0 variables in arguments", container: `command: [echo], env: [{name: A, value: a}], args: ['x-$(A)', '$$(A)']`, want: "x-a $(A)"},
	{id: "NO-b5e8 variables in commands", container: `env: [{name: A, value: a}], command: [echo, 'y-$(A)']`, want: "y-a"},
	{id: "NO-c601 a command", container: `image: '` + agent + `', command: [/bin/client, say, b]`, want: "b"},
	{id: "NO-6cac arguments", container: `image: '` + agent + `', args: [say, a]`, want: "a"},
	{id: "NO-cd11 a command and arguments", container: `image: '` + agent + `', command: [/bin/client, say, c], args: [d]`, want: "c d"},
	{id: "NO-af54 a user", user: 65534, script: "id -u", want: "65534"},
	{id: "NO-e28c no privileges", container: `securityContext: {privileged: false}`, script: "ip link add dummy0 type dummy 2>/dev/null || echo refused", want: "refused"},
	{id: "NO-0a26 root that is written to", container: `securityContext: {readOnlyRootFilesystem: false}`, script: "echo x > /file && cat /file", want: "x"},
	{id: "NO-3bc5 root that is only read", container: `securityContext: {readOnlyRootFilesystem: true}`, script: "echo x 2>/dev/null > /file || echo refused", want: "refused"},
	{id: "NO-99d9 user and group of a container", container: `securityContext: {runAsUser: 1001, runAsGroup: 2002}`, script: "id -u; id -g", want: "1001 2002"},
	{id: "NO-20bd no more privileges", container: `securityContext: {runAsUser: 1000, allowPrivilegeEscalation: false}`, script: "grep NoNewPrivs /proc/self/status", want: "NoNewPrivs: 1"},
	{id: "NO-3b64 variables of Services", script: "echo $FOOSERVICE_SERVICE_HOST $FOOSERVICE_SERVICE_PORT $FOOSERVICE_PORT $FOOSERVICE_PORT_8765_TCP $FOOSERVICE_PORT_8765_TCP_PORT $FOOSERVICE_PORT_8765_TCP_PROTO $FOOSERVICE_PORT_8765_TCP_ADDR",
		want: "10.96.77.77 8765 tcp://10.96.77.77:8765 tcp://10.96.77.77:8765 8765 tcp 10.96.77.77"},
	{id: "NO-f7f7 standard output and error", script: "echo out; sleep 1; echo err >&2", want: "out err"},
}

// TestEnvironments: what a container is told, and may do.
func TestEnvironments(t *testing.T) {
	t.Parallel()
	u := newUser(t, "env")
	u.run("create", "configmap", "settings", "--from-literal=one=value-1", "--from-literal=two=value-2")
	u.run("create", "secret", "generic", "keys", "--from-literal=one=secret-1")
	u.run("create", "service", "clusterip", "fooservice", "--tcp=8765:8080", "--clusterip=10.96.77.77")
	// The kubelet sees Services by its own watch, a moment later.
	u.client("sees")
	u.until("a kubelet knows the service", func() error {
		u.run("delete", "pod", "sees", "--now")
		u.client("sees")
		out, err := u.output("exec", "sees", "--", "env")
		if err == nil && !strings.Contains(out, "FOOSERVICE_SERVICE_HOST=10.96.77.77") {
			err = errNotYet
		}
		return err
	})
	n := running.Members()[0]
	cpu, memory := u.get("node/"+n.Name, "{.status.allocatable.cpu}"), bytesOf(t, u.get("node/"+n.Name, "{.status.allocatable.memory}"))
	cases := append(environments,
		said{id: "NO-9993 no limits", container: `env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]`, script: "echo $A $B", want: cpu + " " + memory},
		said{id: "NO-a034 address of the node", container: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]`, script: "echo $A", want: n.Address},
		said{id: "NO-f189 addresses of the node", container: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}]`, script: "echo $A", want: n.Address})
	u.hear("env", "nodeName: "+n.Name, 30, cases)
	u.hear("who", "securityContext: {runAsUser: 1001, runAsGroup: 2002}", 1, []said{{id: "NO-f536 user and group of a pod", script: "id -u; id -g", want: "1001 2002"}})
	u.hear("sysctl", "securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}", 1, []said{{id: "NO-8972 a setting of the kernel", script: "cat /proc/sys/kernel/shm_rmid_forced", want: "1"}})
	u.hear("hosts", "hostAliases: [{ip: 123.45.67.89, hostnames: [foo, bar]}], hostname: me, subdomain: sub", 3, []said{
		{id: "NO-51b8 other names in /etc/hosts", script: "grep 123.45.67.89 /etc/hosts", want: "123.45.67.89 foo bar"},
		{id: "NE-5783 its own name in /etc/hosts", script: "awk '/me.sub/{print $2,$3}' /etc/hosts; nslookup kubernetes.default.svc.cluster.local >/dev/null && echo found", want: "me.sub.env.svc.cluster.local me found"},
	})
	u.hear("resolver", "dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1], searches: [resolv.conf.local]}", 1, []said{
		{id: "NE-a555 a resolver of its own", script: "sort /etc/resolv.conf", want: "nameserver 1.1.1.1 search resolv.conf.local"}})
	t.Run("NO-ba0d NO-e995 uid of a pod, and its class", func(t *testing.T) {
		u := u
		u.t = t
		u.hear("uid", "", 1, []said{{id: "its uid", container: `resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {cpu: 10m, memory: 8Mi}}, env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]`,
			script: "test ${#A} = 36 && echo $A > /dev/termination-log", want: ""}})
		p := u.over("uid-0")
		if got := p.Status.ContainerStatuses[0].State.Terminated.Message; got != string(p.UID)+"\n" {
			t.Errorf("it has uid %q, its pod %s", got, p.UID)
		}
		if p.Status.QOSClass != corev1.PodQOSGuaranteed {
			t.Errorf("a pod whose limits are its requests is %s", p.Status.QOSClass)
		}
	})
	refusedVolumes(u)
}

// refusedVolumes are subPaths by variables that lead nowhere good.
func refusedVolumes(u user) {
	for _, c := range []struct{ id, expr string }{{"NO-f0fa an absolute path", "$(A)"}, {"NO-9371 backticks", "$(B)"}} {
		u.t.Run(c.id, func(t *testing.T) {
			u := u
			u.t = t
			p := podOf(t, containerName(c.id), "volumes: [{name: v, emptyDir: {}}]", []said{{id: "c", script: "true",
				container: "env: [{name: A, value: /tmp}, {name: B, value: '`hostname`/..'}], volumeMounts: [{name: v, mountPath: /v, subPathExpr: " + c.expr + "}]"}})
			if _, err := api.CoreV1().Pods(u.namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			u.has("CreateContainerConfigError", "pod/"+p.Name, "{.status.containerStatuses[0].state.waiting.reason}")

			u.run("delete", "pod", p.Name, "--now")
		})
	}
}
