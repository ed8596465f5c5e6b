package cli

import "strings"

func create(k kubectl) {
	k.expect("deployment.apps/web created", "create", "-f", k.file("web.yaml", web))
	k.contains(k.in(web).fails("create", "-f", "-"), `Error from server (AlreadyExists)`, `deployments.apps "web" already exists`)
	unknown := strings.Replace(web, "replicas: 2", "replicas: 2\n  nonsense: 1", 1)
	unknown = strings.Replace(unknown, "name: web\n", "name: other\n", 1)
	k.contains(k.in(unknown).fails("create", "-f", "-"), `strict decoding error: unknown field "spec.nonsense"`)
	_, errs, code := k.in(unknown).try("create", "-f", "-", "--validate=warn")
	if k.contains(errs, `Warning: unknown field "spec.nonsense"`); code != 0 {
		k.t.Errorf("--validate=warn: %s", errs)
	}
	invalid := strings.Replace(web, "{app: web}}\n  template", "{app: other}}\n  template", 1)
	k.contains(k.in(strings.Replace(invalid, "name: web", "name: bad", 1)).fails("create", "-f", "-"),
		`The Deployment "bad" is invalid: spec.template.metadata.labels: Invalid value: {"app":"web"}: `+"`selector` does not match template `labels`")
	k.expect("configmap/c created (server dry run)", "create", "configmap", "c", "--dry-run=server")
	k.contains(k.fails("get", "cm", "c"), "NotFound")
	k.expect("namespace/never created (server dry run)", "create", "namespace", "never", "--dry-run=server")
	k.contains(k.in(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"gen-"}}`).run("create", "-f", "-"), "configmap/gen-")
	k.contains(k.in(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Bad_Name"}}`).fails("create", "-f", "-"), `The ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain`)
	k.contains(k.in(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`).inNamespace("none").fails("create", "-f", "-"), `namespaces "none" not found`)
}

// generators are the forms of kubectl create and run that make objects.
func generators(k kubectl) {
	for _, args := range []string{
		"create deployment d --image=nginx --replicas=2 --port=80",
		"create job j --image=busybox", "create cronjob cj --image=busybox --schedule=@hourly",
		"create service clusterip s1 --tcp=80:8080", "create service nodeport s2 --tcp=80:8080", "create service loadbalancer s3 --tcp=80",
		"create service externalname s4 --external-name=example.com",
		"create ingress i --class=x --rule=foo.com/bar*=s1:80,tls=t", "create quota q --hard=pods=3 --scopes=BestEffort",
		"create pdb p --selector=a=b --max-unavailable=25%", "create role r --verb=get,list --resource=pods,deployments.apps --resource-name=x",
		"create rolebinding rb --role=r --user=u --group=g --serviceaccount=default:default", "create serviceaccount sa",
		"create clusterrole generators --verb=get --non-resource-url=/x", "create clusterrolebinding generators --clusterrole=generators --user=u",
		"create priorityclass generators --value=7 --description=d", "create configmap cm --from-literal=a=b",
		"create secret docker-registry sd --docker-username=u --docker-password=p --docker-server=s", "create secret generic sg --from-literal=a=b",
		"run pod --image=busybox --port=80 --expose --restart=Never --env=A=b", "autoscale deployment d --max=5 --min=2 --cpu=50%",
		"expose deployment d --name=d2 --type=NodePort --target-port=81", "create job from-cj --from=cronjob/cj",
	} {
		k.run(strings.Fields(args)...)
	}
	if port := k.field("svc/s2", "{.spec.ports[0].nodePort}"); len(port) != 5 {
		k.t.Errorf("node port %q", port)
	}
	k.expect("kubernetes.io/dockerconfigjson", "get", "secret", "sd", "-o", "jsonpath={.type}")
	k.expect("manual", "get", "job", "from-cj", "-o", `jsonpath={.metadata.annotations.cronjob\.kubernetes\.io/instantiate}`)
}

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {set: "1"}}
data: {keep: "1", drop: "1"}
`

func applyClientSide(k kubectl) {
	k.expect("configmap/settings created", "apply", "-f", k.file("a.yaml", settings))
	k.expect("configmap/settings unchanged", "apply", "-f", k.file("a.yaml", settings))
	k.run("patch", "cm", "settings", "--type=merge", "-p", `{"data":{"other":"1"}}`)
	k.expect("configmap/settings configured", "apply", "-f", k.file("a.yaml", strings.Replace(settings, `, drop: "1"`, `, new: "2"`, 1)))
	k.expect(`{"keep":"1","new":"2","other":"1"}`, "get", "cm", "settings", "-o", "jsonpath={.data}")
	k.contains(k.run("apply", "view-last-applied", "cm/settings"), `new: "2"`)
	// Lists with merge keys: a container leaves, another stays.
	two := strings.Replace(web, "      - name: nginx", "      - {name: side, image: side}\n      - name: nginx", 1)
	k.in(two).run("apply", "-f", "-")
	k.expect("deployment.apps/web configured", "apply", "-f", k.file("w.yaml", web))
	k.expect("nginx", "get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}")
	k.expect("deployment.apps/web configured (server dry run)", "apply", "--dry-run=server", "-f", k.file("w2.yaml", two))
	k.contains(k.in(strings.Replace(web, "replicas: 2", "replicas: -2", 1)).fails("apply", "-f", "-"), "spec.replicas: Invalid value: -2: must be greater than or equal to 0")
	k.contains(k.in(strings.Replace(web, "replicas: 2", "replicas: x", 1)).fails("apply", "-f", "-"), "unrecognized type: int32")
}

func applyServerSide(k kubectl) {
	k.expect("configmap/settings serverside-applied", "apply", "--server-side", "-f", k.file("a.yaml", settings))
	taken := strings.Replace(settings, `keep: "1"`, `keep: "2"`, 1)
	errs := k.in(taken).fails("apply", "--server-side", "--field-manager=other", "-f", "-")
	k.contains(errs, `Apply failed with 1 conflict: conflict with "kubectl": .data.keep`, "--force-conflicts")
	k.in(taken).run("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
	k.expect("2", "get", "cm", "settings", "-o", "jsonpath={.data.keep}")
	// What only kubectl applied goes when it applies without it.
	k.in(strings.Replace(settings, `keep: "1", drop: "1"`, `new: "1"`, 1)).run("apply", "--server-side", "-f", "-")
	k.expect(`{"drop":"1","keep":"2","new":"1"}`, "get", "cm", "settings", "-o", "jsonpath={.data}")
	k.contains(k.run("get", "cm", "settings", "-o", "yaml", "--show-managed-fields"), "manager: other", "operation: Apply")
	// A client-side applied object moves over.
	k.in(web).run("apply", "-f", "-")
	k.expect("deployment.apps/web serverside-applied", "apply", "--server-side", "-f", k.file("w.yaml", strings.Replace(web, "replicas: 2", "replicas: 3", 1)))
	k.in(strings.Replace(web, "  replicas: 2\n", "", 1)).run("apply", "--server-side", "-f", "-")
	k.expect("1", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")
	k.contains(k.in(strings.Replace(web, "replicas: 2", "nonsense: 2", 1)).fails("apply", "--server-side", "-f", "-"), ".spec.nonsense: field not declared in schema")
}

func applyPrune(k kubectl) {
	second := strings.Replace(settings, "name: settings", "name: second", 1)
	k.in(settings+"---"+second).run("apply", "-f", "-")
	k.contains(k.in(settings).run("apply", "-f", "-", "--prune", "-l", "set=1", "--prune-allowlist=core/v1/ConfigMap"), "configmap/settings unchanged", "configmap/second pruned")
	k.expect("configmap/settings", "get", "cm", "-l", "set", "-o", "name")
	sets := k.with("KUBECTL_APPLYSET=true")
	sets.run("create", "configmap", "unrelated")
	// In an ApplySet, whose parent is a Secret.
	sets.in(strings.ReplaceAll(settings+"---"+second, `labels: {set: "1"}`, "labels: {}")).run("apply", "-f", "-", "--server-side", "--force-conflicts", "--prune", "--applyset=group")
	k.contains(sets.in(strings.Replace(settings, `labels: {set: "1"}`, "labels: {}", 1)).run("apply", "-f", "-", "--server-side", "--force-conflicts", "--prune", "--applyset=group"), "configmap/second pruned")
	k.contains(k.run("get", "cm", "-o", "name"), "configmap/settings", "configmap/unrelated")
}

func diff(k kubectl) {
	k.in(web).run("apply", "-f", "-")
	k.in(web).run("diff", "-f", "-")
	out, errs, code := k.in(strings.Replace(web, "replicas: 2", "replicas: 4", 1)).try("diff", "-f", "-")
	if code != 1 {
		k.t.Errorf("diff: exit status %d, %s", code, errs)
	}
	k.contains(out, "-  replicas: 2", "+  replicas: 4")
	out, errs, code = k.in(strings.Replace(web, "replicas: 2", "replicas: 4", 1)).try("diff", "--server-side", "-f", "-", "--force-conflicts")
	if code != 1 {
		k.t.Errorf("diff --server-side: exit status %d, %s", code, errs)
	}
	k.contains(out, "+  replicas: 4")
	k.expect("2", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")
	out, _, code = k.in(settings).try("diff", "-f", "-")
	if k.contains(out, "+kind: ConfigMap"); code != 1 {
		k.t.Errorf("diff of a new object: exit status %d", code)
	}
}

func edit(k kubectl) {
	k.in(settings).run("create", "-f", "-")
	editor := func(program string) kubectl { return k.with("KUBE_EDITOR=sed -i " + program) }
	k.contains(editor(`s/keep:.*/keep:\ two/`).run("edit", "cm", "settings"), "configmap/settings edited")
	k.expect("two", "get", "cm", "settings", "-o", "jsonpath={.data.keep}")
	if _, errs, code := editor(`s/never/ever/`).try("edit", "cm", "settings"); code != 0 {
		k.contains(errs, "Edit cancelled, no changes made.")
	}
	k.in(web).run("create", "-f", "-")
	k.contains(editor(`s/nginx:1/nginx:2/`).run("edit", "deploy/web"), "deployment.apps/web edited")
	k.contains(editor(`s/^status:.*/status:\ {observedGeneration:\ 9}/`).run("edit", "deploy/web", "--subresource=status"), "deployment.apps/web edited")
	k.expect("9 nginx:2", "get", "deploy", "web", "-o", "jsonpath={.status.observedGeneration} {.spec.template.spec.containers[0].image}")
}

func replace(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.expect("deployment.apps/web replaced", "replace", "-f", k.file("w.yaml", strings.Replace(web, "replicas: 2", "replicas: 5", 1)))
	uid := k.field("deploy/web", "{.metadata.uid}")
	stale := k.run("get", "deploy", "web", "-o", "yaml")
	k.run("scale", "deploy", "web", "--replicas=1")
	k.contains(k.in(stale).fails("replace", "-f", "-"), `Error from server (Conflict)`, `Operation cannot be fulfilled on deployments.apps "web": the object has been modified; please apply your changes to the latest version and try again`)
	k.contains(k.in(strings.Replace(web, "{app: web}}\n  template", "{app: x}}\n  template", 1)).fails("replace", "-f", "-"), "spec.selector: Invalid value", "field is immutable")
	k.contains(k.in(web).run("replace", "--force", "-f", "-"), "deployment.apps/web replaced")
	if k.field("deploy/web", "{.metadata.uid}") == uid {
		k.t.Error("replace --force kept the uid")
	}
	k.contains(k.in(settings).fails("replace", "-f", "-"), `configmaps "settings" not found`)
}

func patch(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.expect("deployment.apps/web patched", "patch", "deploy", "web", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"i:3"},{"name":"side","image":"side"}]}}}}`)
	k.expect("nginx=i:3 side=side", "get", "deploy", "web", "-o", "jsonpath={range .spec.template.spec.containers[*]}{.name}={.image} {end}")
	k.expect("deployment.apps/web patched (no change)", "patch", "deploy", "web", "-p", `{"spec":{"replicas":2}}`)
	k.run("patch", "deploy", "web", "--type=strategic", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}`)
	k.run("patch", "deploy", "web", "--type=merge", "-p", `{"spec":{"paused":true,"template":{"spec":{"containers":[{"name":"only","image":"only"}]}}}}`)
	k.expect("true only", "get", "deploy", "web", "-o", "jsonpath={.spec.paused} {.spec.template.spec.containers[*].name}")
	k.run("patch", "deploy", "web", "--type=json", "-p", `[{"op":"test","path":"/spec/paused","value":true},{"op":"remove","path":"/spec/paused"},{"op":"add","path":"/metadata/labels/a~1b","value":"c"}]`)
	k.expect("c", "get", "deploy", "web", "-o", "jsonpath={.metadata.labels.a/b}")
	k.contains(k.fails("patch", "deploy", "web", "--type=json", "-p", `[{"op":"test","path":"/spec/replicas","value":7}]`), "the server rejected our request due to an error in our request")
	k.contains(k.fails("patch", "deploy", "web", "--type=merge", "-p", `{"metadata":{"resourceVersion":"1"}}`), "Conflict")
	k.run("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", `{"spec":{"replicas":77},"status":{"observedGeneration":1,"replicas":2}}`)
	k.expect("2 2", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas} {.status.replicas}")
	k.expect("scale.autoscaling/web patched", "patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", `{"spec":{"replicas":6}}`)
	k.expect("6", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")
	k.contains(k.fails("patch", "deploy", "none", "-p", `{"spec":{}}`), `deployments.apps "none" not found`)
}

func labelAndAnnotate(k kubectl) {
	k.run("create", "cm", "a")
	k.run("create", "cm", "b")
	k.expect("configmap/a labeled", "label", "cm", "a", "x=1", "y=2")
	k.contains(k.fails("label", "cm", "a", "x=2"), "'x' already has a value (1), and --overwrite is false")
	k.run("label", "--overwrite", "cm", "a", "x=2")
	k.expect("configmap/a unlabeled", "label", "cm", "a", "y-")
	k.expect(`{"x":"2"}`, "get", "cm", "a", "-o", "jsonpath={.metadata.labels}")
	k.contains(k.fails("label", "cm", "a", "x=a b", "--overwrite"), "invalid label value")
	k.expect("configmap/a annotated\nconfigmap/b annotated", "annotate", "cm", "a", "b", "note=long text")
	k.run("annotate", "cm", "--all", "note-")
	k.expect("", "get", "cm", "a", "-o", "jsonpath={.metadata.annotations}")
	k.contains(k.run("label", "cm", "-l", "x=2", "found=yes"), "configmap/a labeled")
	k.contains(k.fails("label", "cm", "a", "z=1", "--resource-version=1"), "Conflict")
}

func set(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.run("create", "serviceaccount", "robot")
	k.expect("deployment.apps/web image updated", "set", "image", "deploy/web", "nginx=nginx:9")
	k.expect("deployment.apps/web env updated", "set", "env", "deploy/web", "B=c", "A-")
	k.expect("deployment.apps/web resource requirements updated", "set", "resources", "deploy/web", "--limits=cpu=200m,memory=1Gi")
	k.expect("deployment.apps/web serviceaccount updated", "set", "serviceaccount", "deploy/web", "robot")
	k.expect(`nginx:9 [{"name":"B","value":"c"}] {"cpu":"200m","memory":"1Gi"} robot`, "get", "deploy", "web", "-o",
		"jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env} {.spec.template.spec.containers[0].resources.limits} {.spec.template.spec.serviceAccountName}")
	k.run("create", "service", "clusterip", "s", "--tcp=80")
	k.run("set", "selector", "service", "s", "a=b")
	k.expect(`{"a":"b"}`, "get", "svc", "s", "-o", "jsonpath={.spec.selector}")
	k.run("create", "rolebinding", "rb", "--clusterrole=view", "--user=u")
	k.run("set", "subject", "rolebinding", "rb", "--user=v")
}
