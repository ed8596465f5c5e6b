package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web, tier: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: nginx
        image: nginx:1
        ports: [{containerPort: 80}]
        env: [{name: A, value: b}]
`

func getForms(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.run("create", "configmap", "c", "--from-literal=a=b")
	lines := strings.Split(k.run("get", "deployments"), "\n")
	k.contains(words(lines[0]), "NAME READY UP-TO-DATE AVAILABLE AGE")
	k.contains(words(lines[1]), "web 0/2 0 0 ")
	k.contains(words(k.run("get", "deploy", "web", "-o", "wide")), "AGE CONTAINERS IMAGES SELECTOR", "nginx nginx:1 app=web")
	k.contains(k.run("get", "deploy", "web", "-o", "yaml"), "kind: Deployment", "    app: web", "progressDeadlineSeconds: 600", "terminationMessagePath: /dev/termination-log")
	k.contains(k.run("get", "deploy", "web", "-o", "kyaml"), `kind: "Deployment"`, "replicas: 2,")
	var d struct {
		Kind string
		Spec struct{ Replicas int }
	}
	if err := json.Unmarshal([]byte(k.run("get", "deploy", "web", "-o", "json")), &d); err != nil || d.Kind != "Deployment" || d.Spec.Replicas != 2 {
		k.t.Errorf("-o json: %+v, %v", d, err)
	}
	k.expect("deployment.apps/web\nconfigmap/c", "get", "deploy/web", "cm/c", "-o", "name")
	k.expect("2 nginx:1", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
	k.expect("2", "get", "deploy", "web", "-o", "jsonpath-file="+k.file("path", "{.spec.replicas}"))
	k.expect("web-2", "get", "deploy", "web", "-o", "go-template={{.metadata.name}}-{{.spec.replicas}}")
	k.contains(words(k.run("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")), "N R web 2")
	k.contains(words(k.run("get", "deploy", "--show-labels")), "LABELS web", "app=web,tier=front")
	k.contains(words(k.run("get", "deploy", "-L", "tier,none")), "TIER NONE web", "front")
	k.contains(k.run("get", "deploy", "-o", "yaml", "--show-managed-fields"), "manager: kubectl-create", "f:progressDeadlineSeconds")
	k.contains(k.run("get", "all"), "deployment.apps/web")
	k.contains(k.run("get", "deployments.v1.apps", "web"), "web")
	k.contains(k.run("get", "deploy", "web", "--subresource=scale"), "web")
	k.contains(k.run("get", "deploy", "web", "--subresource=status", "-o", "yaml"), "kind: Deployment")
	k.contains(k.in(web).run("get", "-f", "-", "-o", "name"), "deployment.apps/web")
	k.expect("", "get", "deploy", "none", "--ignore-not-found")
	k.expect("", "get", "pods", "-o", "name")
	k.contains(k.fails("get", "deploy", "none"), `Error from server (NotFound): deployments.apps "none" not found`)
	k.contains(k.fails("get", "nonsense"), `error: the server doesn't have a resource type "nonsense"`)
}

func getSelections(k kubectl) {
	var text strings.Builder
	for i := range 7 {
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, labels: {num: \"%d\", odd: \"%t\"}}\ndata: {rank: \"%d\"}\n", i, i, i%2 == 1, 9-i)
	}
	k.in(text.String()).run("create", "-f", "-")
	names := func(args ...string) string {
		k.t.Helper()
		return strings.ReplaceAll(strings.TrimSpace(k.run(append([]string{"get", "cm", "-o", "name"}, args...)...)), "configmap/", "")
	}
	for _, c := range []struct{ want, args string }{
		{"c0 c1 c2 c3 c4 c5 c6", "--chunk-size=2"},
		{"c0 c1 c2 c3 c4 c5 c6", "--chunk-size=0"},
		{"c1 c3 c5", "-l odd=true"},
		{"c3", "-l odd=true,num=3"},
		{"c0 c2 c4 c6", "-l odd!=true"},
		{"c1 c5", "-l num in (1,5)"},
		{"c0 c2 c3 c4 c6", "-l num notin (1,5)"},
		{"c0 c1 c2 c3 c4 c5 c6", "-l num"},
		{"", "-l !num"},
		{"c5 c6", "-l num>4"},
		{"c4", "--field-selector=metadata.name=c4"},
		{"c0 c1 c2 c3 c5 c6", "--field-selector=metadata.name!=c4"},
		{"c6 c5 c4 c3 c2 c1 c0", "--sort-by=.data.rank"},
	} {
		flag, value, _ := strings.Cut(c.args, " ")
		args := []string{flag}
		if value != "" {
			args = append(args, value)
		}
		if got := strings.Join(strings.Fields(names(args...)), " "); got != c.want {
			k.t.Errorf("%s: %s, want %s", c.args, got, c.want)
		}
	}
	k.contains(k.run("get", "cm", "-A", "--field-selector=metadata.namespace="+k.namespace), k.namespace, "c6")
	k.contains(k.fails("get", "cm", "--field-selector=data.rank=1"), `"data.rank" is not a known field selector: only "metadata.name", "metadata.namespace"`)
	k.contains(k.fails("get", "cm", "-l", "a=b=c"), "found '=', expected: ',' or 'end of string'")
}

func getWatch(k kubectl) {
	c := k.command("get", "configmaps", "-w", "--output-watch-events", "--no-headers")
	out, err := c.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	k.run("create", "configmap", "first")
	if err := c.Start(); err != nil {
		k.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		k.t.Helper()
		if !lines.Scan() || !strings.HasPrefix(words(lines.Text()), want) {
			k.t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	next("ADDED first 0")
	k.run("create", "configmap", "second", "--from-literal=a=b")
	next("ADDED second 1")
	k.run("patch", "configmap", "second", "--type=merge", "-p", `{"data":{"c":"d"}}`)
	next("MODIFIED second 2")
	k.run("delete", "configmap", "first")
	next("DELETED first 0")
	if err := c.Process.Kill(); err != nil {
		k.t.Error(err)
	}
	_ = c.Wait() // killed
	k.contains(k.run("get", "configmap", "second", "--watch-only", "--request-timeout=1s"), "")
}

// getEvery lists every resource that discovery offers, as a table.
func getEvery(k kubectl) {
	resources := strings.Fields(k.run("api-resources", "--verbs=list", "-o", "name"))
	if len(resources) < 50 {
		k.t.Errorf("only %d resources can be listed", len(resources))
	}
	for batch := range slices.Chunk(resources, 16) {
		k.run("get", "-A", strings.Join(batch, ","))
	}
	k.run("get", "-A", strings.Join(resources, ","), "-o", "name")
}

func describe(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.run("run", "p", "--image=busybox", "--labels=app=p", "--", "sleep", "1")
	k.run("expose", "deployment", "web", "--port=80")
	k.run("create", "quota", "q", "--hard=pods=10")
	k.run("create", "secret", "generic", "s", "--from-literal=key=12345")
	k.run("create", "job", "j", "--image=busybox")
	k.run("create", "ingress", "i", "--rule=foo.com/x=web:80")
	k.run("create", "role", "r", "--verb=get", "--resource=pods")
	k.run("create", "pdb", "b", "--selector=app=web", "--min-available=1")
	for object, parts := range map[string][]string{
		"deploy/web":         {"Name: web", "Replicas: 2 desired", "25% max unavailable, 25% max surge", "Image: nginx:1"},
		"pod/p":              {"Status: Pending", "Image: busybox", "QoS Class: BestEffort", "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s"},
		"svc/web":            {"IP Family Policy: SingleStack", "TargetPort: 80/TCP", "Session Affinity: None"},
		"quota/q":            {"Name: q"},
		"secret/s":           {"key: 5 bytes"},
		"job/j":              {"Parallelism: 1", "Completion Mode: NonIndexed"},
		"ingress/i":          {"foo.com", "web:80"},
		"role/r":             {"pods [] [] [get]"},
		"pdb/b":              {"Min available: 1"},
		"namespace/describe": {"Status: Active", "Name: q"},
		"configmaps":         {},
	} {
		k.contains(words(k.run("describe", object)), parts...)
	}
	k.contains(words(k.run("describe", "pods", "-l", "app=p")), "Name: p")
	k.contains(k.fails("describe", "pod", "none"), `pods "none" not found`)
}
