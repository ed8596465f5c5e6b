package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// following has every source of files that changes while a pod runs, some of
// which are not there yet.
const following = `
apiVersion: v1
kind: Pod
metadata: {name: follows, labels: {color: red}, annotations: {note: red}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: ` + busybox + `
    command: [sleep, '100000']
    volumeMounts: [%s]
  volumes:
%s`

// TestFilesFollow: files in a running pod become what their sources are.
func TestFilesFollow(t *testing.T) {
	t.Parallel()
	u := newUser(t, "follow")
	volumes := []struct{ name, source string }{
		{"map", "{configMap: {name: there}}"}, {"pmap", "{projected: {sources: [{configMap: {name: there}}]}}"},
		{"note", "{downwardAPI: {items: [{path: one, fieldRef: {fieldPath: metadata.annotations}}]}}"},
		{"pnote", "{projected: {sources: [{downwardAPI: {items: [{path: one, fieldRef: {fieldPath: metadata.annotations}}]}}]}}"},
		{"plabel", "{projected: {sources: [{downwardAPI: {items: [{path: one, fieldRef: {fieldPath: metadata.labels}}]}}]}}"},
		{"pmaplater", "{projected: {sources: [{configMap: {name: later, optional: true}}]}}"}, {"pmapgone", "{projected: {sources: [{configMap: {name: goes, optional: true}}]}}"},
		{"key", "{secret: {secretName: there}}"}, {"keylater", "{secret: {secretName: later, optional: true}}"}, {"keygone", "{secret: {secretName: goes, optional: true}}"},
		{"pkey", "{projected: {sources: [{secret: {name: there}}]}}"}, {"pkeylater", "{projected: {sources: [{secret: {name: later, optional: true}}]}}"}, {"pkeygone", "{projected: {sources: [{secret: {name: goes, optional: true}}]}}"},
	}
	for _, name := range []string{"there", "goes"} {
		u.run("create", "configmap", name, "--from-literal=one=red")
		u.run("create", "secret", "generic", name, "--from-literal=one=red")
	}
	var mounts []string
	var sources strings.Builder
	for _, v := range volumes {
		mounts = append(mounts, fmt.Sprintf("{name: %s, mountPath: /v/%s}", v.name, v.name))
		fmt.Fprintf(&sources, "  - {name: %s, %s\n", v.name, strings.TrimPrefix(v.source, "{"))
	}
	mounts = append(mounts, "{name: map, mountPath: /once, subPath: one}")
	u.apply(fmt.Sprintf(following, strings.Join(mounts, ", "), sources.String()))
	u.ready("pod/follows")
	if got := u.run("exec", "follows", "--", "cat", "/v/map/one", "/v/pkey/one", "/v/keygone/one", "/once"); got != "redredredred" {
		t.Errorf("at first the files hold %q", got)
	}
	u.run("label", "pod", "follows", "color=blue", "--overwrite")
	u.run("annotate", "pod", "follows", "note=blue", "--overwrite")
	for _, kind := range []string{"configmap", "secret"} {
		field := `{"data":{"one":"blue"}}`
		if kind == "secret" {
			field = `{"stringData":{"one":"blue"}}`
		}
		u.run("patch", kind, "there", "-p", field)
		u.run("delete", kind, "goes")
	}
	u.run("create", "configmap", "later", "--from-literal=one=blue")
	u.run("create", "secret", "generic", "later", "--from-literal=one=blue")
	blue := func(u user, volumes ...string) {
		for _, v := range volumes {
			u.says("blue", "follows", "cat", "/v/"+v+"/one")
		}
	}
	gone := func(u user, volume string) {
		u.says("", "follows", "sh", "-c", "! ls /v/"+volume+"/one")
	}
	u.sub("ST-302f a ConfigMap", func(u user) { blue(u, "map") })
	u.sub("ST-6de1 a projected ConfigMap", func(u user) { blue(u, "pmap") })
	u.sub("ST-7d57 annotations", func(u user) { blue(u, "note") })
	u.sub("ST-b3b8 projected annotations", func(u user) { blue(u, "pnote") })
	u.sub("ST-c359 projected labels", func(u user) { blue(u, "plabel") })
	u.sub("ST-5647 optional projected ConfigMaps", func(u user) { blue(u, "pmap", "pmaplater"); gone(u, "pmapgone") })
	u.sub("ST-b92d optional Secrets", func(u user) { blue(u, "key", "keylater"); gone(u, "keygone") })
	u.sub("ST-de8e optional projected Secrets", func(u user) { blue(u, "pkey", "pkeylater"); gone(u, "pkeygone") })
	u.sub("ST-fc27 a subPath stays what it was", func(u user) { u.says("red", "follows", "cat", "/once") })
	u.sub("ST-cdb2 what is immutable", func(u user) {
		u.run("patch", "configmap", "there", "-p", `{"immutable":true}`)
		for _, doc := range []string{`{"data":{"one":"green"}}`, `{"immutable":false}`, `{"binaryData":{"two":"YQ=="}}`} {
			if err := refuses(u.try("patch", "configmap", "there", "-p", doc), "field is immutable when `immutable` is set"); err != nil {
				u.t.Error(err)
			}
		}
		u.run("label", "configmap", "there", "still=yes")
		u.run("delete", "configmap", "there")
	})
}

// TestManyVolumes mounts fifty ConfigMaps in each of five pods, at once.
func TestManyVolumes(t *testing.T) {
	t.Parallel()
	u := newUser(t, "many")
	var maps, mounts, sources strings.Builder
	for i := range 50 {
		fmt.Fprintf(&maps, "{apiVersion: v1, kind: ConfigMap, metadata: {name: m%d}, data: {number: '%d'}}\n---\n", i, i)
		fmt.Fprintf(&mounts, "{name: v%d, mountPath: /v/%d},", i, i)
		fmt.Fprintf(&sources, "{name: v%d, configMap: {name: m%d}},", i, i)
	}
	u.apply(maps.String())
	u.sub("ST-6c79 fifty in each of five pods", func(u user) {
		u.apply(fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: many}, spec: {replicas: 5, selector: {matchLabels: {app: many}}, template: {metadata: {labels: {app: many}},
			spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: '%s', command: [sh, -c, 'cat /v/*/number | wc -c; sleep 100000'], volumeMounts: [%s]}], volumes: [%s]}}}}`, busybox, mounts.String(), sources.String()))
		u.rolledOut("deployment/many")
		for pod := range strings.FieldsSeq(u.get("pods -l app=many", "{.items[*].metadata.name}")) {
			// Its container runs before its script has read them all.
			u.until(pod+" reads 90 bytes", func() error {
				got, err := u.output("logs", pod)
				if err == nil && got != "90" {
					err = fmt.Errorf("it reads %q", got)
				}
				return err
			})
		}
	})
}
