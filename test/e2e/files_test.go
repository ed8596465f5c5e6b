package e2e

import (
	"fmt"
	"strings"
	"testing"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// Sources of files: the same object by itself and in a projection.
const (
	settings   = `{configMap: {name: settings%s}}`
	pSettings  = `{projected: {sources: [{configMap: {name: settings%s}}]%s}}`
	keys       = `{secret: {secretName: keys%s}}`
	pKeys      = `{projected: {sources: [{secret: {name: keys%s}}]%s}}`
	info       = `{downwardAPI: {items: [{path: f, %s}]%s}}`
	pInfo      = `{projected: {sources: [{downwardAPI: {items: [{path: f, %s}]}}]%s}}`
	mode400    = `, defaultMode: 0400`
	mapped     = `, items: [{key: one, path: deep/f}]`
	mappedMode = `, items: [{key: one, path: deep/f, mode: 0400}]`
)

// show prints a file's mode and content.
func show(file string) string { return "stat -L -c %a /v/" + file + "; cat /v/" + file }

func resource(name string) string { return "resourceFieldRef: {resource: " + name + "}" }
func field(path string) string    { return "fieldRef: {fieldPath: " + path + "}" }

// ofContainer adds the container that a resource in a file is of.
func ofContainer(id, volume string) string {
	return strings.ReplaceAll(volume, "resourceFieldRef: {", "resourceFieldRef: {containerName: "+containerName(id)+", ")
}

const resources = `resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {cpu: 1250m, memory: 64Mi}}`

var files = []said{
	{id: "ST-67b5 ConfigMap", volume: fmt.Sprintf(settings, ""), script: show("one"), want: "644 value-1"},
	{id: "ST-d48d ConfigMap not as root", volume: fmt.Sprintf(settings, ""), user: 1000, script: show("one"), want: "644 value-1"},
	{id: "ST-40a7 ConfigMap with a mode", volume: fmt.Sprintf(settings, mode400), script: show("one"), want: "400 value-1"},
	{id: "ST-a435 ConfigMap's items", volume: fmt.Sprintf(settings, mapped), script: show("deep/f"), want: "644 value-1"},
	{id: "ST-d812 ConfigMap's items with a mode", volume: fmt.Sprintf(settings, mappedMode), script: show("deep/f"), want: "400 value-1"},
	{id: "ST-0c25 ConfigMap's items not as root", volume: fmt.Sprintf(settings, mapped), user: 1000, script: show("deep/f"), want: "644 value-1"},
	{id: "ST-6c8a ConfigMap of bytes", volume: fmt.Sprintf(settings, ""), script: "od -An -tx1 /v/bytes; cat /v/one", want: "de ca fe 00 ff value-1"},
	{id: "ST-79b1 projected ConfigMap", volume: fmt.Sprintf(pSettings, "", ""), script: show("one"), want: "644 value-1"},
	{id: "ST-266a projected ConfigMap not as root", volume: fmt.Sprintf(pSettings, "", ""), user: 1000, script: show("one"), want: "644 value-1"},
	{id: "ST-9d49 projected ConfigMap with a mode", volume: fmt.Sprintf(pSettings, "", mode400), script: show("one"), want: "400 value-1"},
	{id: "ST-6d04 projected ConfigMap's items", volume: fmt.Sprintf(pSettings, mapped, ""), script: show("deep/f"), want: "644 value-1"},
	{id: "ST-e88c projected ConfigMap's items with a mode", volume: fmt.Sprintf(pSettings, mappedMode, ""), script: show("deep/f"), want: "400 value-1"},
	{id: "ST-c9c7 projected ConfigMap's items not as root", volume: fmt.Sprintf(pSettings, mapped, ""), user: 1000, script: show("deep/f"), want: "644 value-1"},
	{id: "ST-e9b0 Secret", volume: fmt.Sprintf(keys, ""), script: show("one"), want: "644 secret-1"},
	{id: "ST-0ab6 Secret with a mode", volume: fmt.Sprintf(keys, mode400), script: show("one"), want: "400 secret-1"},
	{id: "ST-fe04 Secret's items", volume: fmt.Sprintf(keys, mapped), script: show("deep/f"), want: "644 secret-1"},
	{id: "ST-2bc9 Secret's items with a mode", volume: fmt.Sprintf(keys, mappedMode), script: show("deep/f"), want: "400 secret-1"},
	{id: "ST-27f5 Secret of this namespace", volume: fmt.Sprintf(keys, ""), script: "ls /v; cat /v/one", want: "one secret-1"},
	{id: "ST-3dee projected Secret", volume: fmt.Sprintf(pKeys, "", ""), script: show("one"), want: "644 secret-1"},
	{id: "ST-a0f1 projected Secret with a mode", volume: fmt.Sprintf(pKeys, "", mode400), script: show("one"), want: "400 secret-1"},
	{id: "ST-3be1 projected Secret's items", volume: fmt.Sprintf(pKeys, mapped, ""), script: show("deep/f"), want: "644 secret-1"},
	{id: "ST-7671 projected Secret's items with a mode", volume: fmt.Sprintf(pKeys, mappedMode, ""), script: show("deep/f"), want: "400 secret-1"},
	{id: "ST-2fdd limit of processors in a file", volume: fmt.Sprintf(info, resource("limits.cpu"), ""), container: resources, script: "cat /v/f", want: "2"},
	{id: "ST-1b5d request of processors in a file", volume: fmt.Sprintf(info, resource("requests.cpu"), ""), container: resources, script: "cat /v/f", want: "1"},
	{id: "ST-965a limit of memory in a file", volume: fmt.Sprintf(info, resource("limits.memory"), ""), container: resources, script: "cat /v/f", want: "67108864"},
	{id: "ST-799f request of memory in a file", volume: fmt.Sprintf(info, resource("requests.memory"), ""), container: resources, script: "cat /v/f", want: "8388608"},
	{id: "ST-17fb pod's name in a file", volume: fmt.Sprintf(info, field("metadata.name"), ""), script: "cut -d- -f1 /v/f", want: "files"},
	{id: "ST-c712 downward files with a mode", volume: fmt.Sprintf(info, field("metadata.namespace"), mode400), script: show("f"), want: "400 files"},
	{id: "ST-5b70 downward file with a mode", volume: fmt.Sprintf(info, field("metadata.namespace")+", mode: 0400", ""), script: show("f"), want: "400 files"},
	{id: "ST-6cbd projected limit of processors", volume: fmt.Sprintf(pInfo, resource("limits.cpu"), ""), container: resources, script: "cat /v/f", want: "2"},
	{id: "ST-3814 projected request of processors", volume: fmt.Sprintf(pInfo, resource("requests.cpu"), ""), container: resources, script: "cat /v/f", want: "1"},
	{id: "ST-581e projected limit of memory", volume: fmt.Sprintf(pInfo, resource("limits.memory"), ""), container: resources, script: "cat /v/f", want: "67108864"},
	{id: "ST-1e4e projected request of memory", volume: fmt.Sprintf(pInfo, resource("requests.memory"), ""), container: resources, script: "cat /v/f", want: "8388608"},
	{id: "ST-1208 projected name of the pod", volume: fmt.Sprintf(pInfo, field("metadata.name"), ""), script: "cut -d- -f1 /v/f", want: "files"},
	{id: "ST-a737 projected downward files with a mode", volume: fmt.Sprintf(pInfo, field("metadata.namespace"), mode400), script: show("f"), want: "400 files"},
	{id: "ST-7a9e projected downward file with a mode", volume: fmt.Sprintf(pInfo, field("metadata.namespace")+", mode: 0400", ""), script: show("f"), want: "400 files"},
}

// scratch is a file of a mode in an emptyDir, and what the volume is.
func scratch(id, medium string, user int64, mode, want string) said {
	kind, on := "{}", "disk"
	if medium != "" {
		kind, on = "{medium: "+medium+"}", "tmpfs"
	}
	script := fmt.Sprintf(`echo content > /v/f && chmod %s /v/f && stat -c %%A /v/f && cat /v/f; t=$(stat -f -c %%T /v); [ "$t" = tmpfs ] && echo tmpfs || echo disk`, mode)
	return said{id: id, volume: "{emptyDir: " + kind + "}", user: user, script: script, want: want + " content " + on}
}

var scratches = []said{
	scratch("ST-c607 emptyDir", "", 1001, "0644", "-rw-r--r--"),
	scratch("ST-6753 emptyDir", "Memory", 1001, "0644", "-rw-r--r--"),
	scratch("ST-7963 emptyDir", "", 1001, "0666", "-rw-rw-rw-"),
	scratch("ST-14d3 emptyDir", "", 1001, "0777", "-rwxrwxrwx"),
	scratch("ST-5d0d emptyDir", "Memory", 1001, "0777", "-rwxrwxrwx"),
	scratch("ST-b3bb emptyDir", "", 0, "0644", "-rw-r--r--"),
	scratch("ST-eb28 emptyDir", "Memory", 0, "0644", "-rw-r--r--"),
	scratch("ST-ec42 emptyDir", "", 0, "0666", "-rw-rw-rw-"),
	scratch("ST-98f0 emptyDir", "Memory", 0, "0666", "-rw-rw-rw-"),
	scratch("ST-04f8 emptyDir", "", 0, "0777", "-rwxrwxrwx"),
	scratch("ST-eda2 emptyDir", "Memory", 0, "0777", "-rwxrwxrwx"),
	{id: "ST-29ce emptyDir's own mode", volume: "{emptyDir: {}}", script: "stat -c %A /v", want: "drwxrwxrwx"},
}

// shared is a pod whose containers see one another's files, and the same
// objects in two places.
const sharedPod = `volumes: [{name: scratch, emptyDir: {}}, {name: s, configMap: {name: settings}}, {name: k, secret: {secretName: keys}},
	{name: ps, projected: {sources: [{configMap: {name: settings}}]}}, {name: pk, projected: {sources: [{secret: {name: keys}}]}},
	{name: i, downwardAPI: {items: [{path: f, fieldRef: {fieldPath: metadata.namespace}}]}},
	{name: all, projected: {sources: [{configMap: {name: settings}}, {secret: {name: keys, items: [{key: one, path: key}]}}, {downwardAPI: {items: [{path: f, fieldRef: {fieldPath: metadata.namespace}}]}}]}}],
	terminationGracePeriodSeconds: 1`

var sharings = []said{
	{id: "ST-3fd1 emptyDir of two containers", container: "volumeMounts: [{name: scratch, mountPath: /s}]", script: "until [ -e /s/there ]; do sleep 0.1; done; cat /s/there", want: "hello"},
	{id: "writer", container: "volumeMounts: [{name: scratch, mountPath: /s}]", script: "echo hello > /s/new; mv /s/new /s/there", want: ""},
	{id: "ST-d760 ConfigMap in two volumes", volume: fmt.Sprintf(settings, ""), container: "volumeMounts: [{name: s, mountPath: /w}]", script: "cat /v/one; echo; cat /w/one", want: "value-1 value-1"},
	{id: "ST-1afd Secret in two volumes", volume: fmt.Sprintf(keys, ""), container: "volumeMounts: [{name: k, mountPath: /w}]", script: "cat /v/one; echo; cat /w/one", want: "secret-1 secret-1"},
	{id: "ST-6e59 projected ConfigMap in two volumes", volume: fmt.Sprintf(pSettings, "", ""), container: "volumeMounts: [{name: ps, mountPath: /w}]", script: "cat /v/one; echo; cat /w/one", want: "value-1 value-1"},
	{id: "ST-aea2 projected Secret in two volumes", volume: fmt.Sprintf(pKeys, "", ""), container: "volumeMounts: [{name: pk, mountPath: /w}]", script: "cat /v/one; echo; cat /w/one", want: "secret-1 secret-1"},
	{id: "ST-b5ea Secret and ConfigMap in one pod", container: "volumeMounts: [{name: s, mountPath: /a}, {name: k, mountPath: /b}]", script: "cat /a/one; echo; cat /b/one", want: "value-1 secret-1"},
	{id: "ST-88fe subPath over a file", container: "volumeMounts: [{name: s, mountPath: /etc/passwd, subPath: one}]", script: "cat /etc/passwd", want: "value-1"},
	{id: "ST-8d2f subPath of a Secret", container: "volumeMounts: [{name: k, mountPath: /f, subPath: one}]", script: "cat /f", want: "secret-1"},
	{id: "ST-8bdc subPath of downward files", container: "volumeMounts: [{name: i, mountPath: /f, subPath: f}]", script: "cat /f", want: "files"},
	{id: "ST-78c1 subPath of a projection", container: "volumeMounts: [{name: all, mountPath: /f, subPath: key}]", script: "cat /f", want: "secret-1"},
	{id: "NO-b0ef NO-6648 subPath by a variable", container: "env: [{name: SPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}], volumeMounts: [{name: scratch, mountPath: /own, subPathExpr: $(SPACE)}, {name: scratch, mountPath: /all}]", script: "echo mine > /own/x; cat /all/files/x", want: "mine"},
}

// TestFiles: what volumes of configuration and scratch space hold, and how.
func TestFiles(t *testing.T) {
	t.Parallel()
	other := newUser(t, "files-too")
	other.run("create", "secret", "generic", "keys", "--from-literal=one=others", "--from-literal=two=others")
	u := newUser(t, "files")
	u.apply(`{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {one: value-1}, binaryData: {bytes: 3sr+AP8=}}`)
	u.run("create", "secret", "generic", "keys", "--from-literal=one=secret-1")
	node := running.Members()[0].Name
	processors, memory := u.get("node/"+node, "{.status.allocatable.cpu}"), bytesOf(t, u.get("node/"+node, "{.status.allocatable.memory}"))
	for _, d := range []struct{ id, source, resource, want string }{
		{"ST-8c93 no limit of processors", info, "limits.cpu", processors}, {"ST-9f3f no limit of memory", info, "limits.memory", memory},
		{"ST-b1b7 no limit of processors, projected", pInfo, "limits.cpu", processors}, {"ST-6704 no limit of memory, projected", pInfo, "limits.memory", memory},
	} {
		files = append(files, said{id: d.id, volume: fmt.Sprintf(d.source, resource(d.resource), ""), script: "cat /v/f", want: d.want})
	}
	for i, f := range files {
		files[i].volume = ofContainer(f.id, f.volume)
	}
	place := "nodeName: " + node
	u.hear("files", place, 20, files)
	u.hear("scratch", place, 20, scratches)
	u.hear("shared", sharedPod, 20, sharings)
	u.hear("group", "securityContext: {runAsUser: 1000, fsGroup: 1001}", 1, []said{
		{id: "ST-c697 Secret with a mode and a group", volume: fmt.Sprintf(keys, ", defaultMode: 0440"), script: "stat -L -c '%a %g' /v/one; id -u; cat /v/one", want: "440 1001 1000 secret-1"}})
}

// bytesOf is a quantity as a number.
func bytesOf(t *testing.T, quantity string) string {
	t.Helper()
	q, err := apiresource.ParseQuantity(quantity)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(q.Value())
}
