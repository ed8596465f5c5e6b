package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
)

// chart is one of each sort of thing that charts are made of: values, a
// helper template, a hook, and objects of several kinds.
var chart = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 0.1.0\nappVersion: \"7\"\n",
	"values.yaml": "replicas: 1\ncolor: green\ncache: true\n",
	"templates/_names.tpl": `{{- define "shop.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
`,
	"templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
  labels: {{- include "shop.labels" . | nindent 4 }}
data:
  color: {{ .Values.color }}
  revision: "{{ .Release.Revision }}"
`,
	"templates/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  labels: {{- include "shop.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}, color: {{ .Values.color }}}}
    spec:
      containers:
      - {name: web, image: "shop:{{ .Chart.AppVersion }}", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}-web
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80}]
`,
	"templates/cache.yaml": `{{- if .Values.cache }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-cache
stringData: {key: value}
{{- end }}
`,
	"templates/hook.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
data: {revision: "{{ .Release.Revision }}"}
`,
	"templates/NOTES.txt": "The shop is {{ .Values.color }}.\n",
}

// helm runs bin/helm against the server of k.
func (k kubectl) helm(args ...string) (string, error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, apiservertest.Binary("helm"), append([]string{"-n", k.namespace}, args...)...)
	c.Env = []string{"HOME=" + k.home, "KUBECONFIG=" + k.server.Kubeconfig, "PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

func (k kubectl) helms(args ...string) string {
	k.t.Helper()
	out, err := k.helm(args...)
	if err != nil {
		k.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TestHelm takes a release through its life.
func TestHelm(t *testing.T) {
	s := apiservertest.Start(t)
	k := kubectl{t: t, server: s, home: t.TempDir(), namespace: "shops"}
	dir := t.TempDir()
	for name, text := range chart {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.contains(k.helms("install", "corner", dir, "--create-namespace"), "STATUS: deployed", "The shop is green.")
	k.expect("green", "get", "configmap", "corner-config", "-o", "jsonpath={.data.color}")
	k.expect("Helm", "get", "deployment", "corner-web", "-o", `jsonpath={.metadata.labels.app\.kubernetes\.io/managed-by}`)
	k.expect("1", "get", "configmap", "corner-hook", "-o", "jsonpath={.data.revision}")

	// Somebody else's change of a field that the chart does not name stays.
	k.run("annotate", "configmap", "corner-config", "note=mine")
	k.helms("upgrade", "corner", dir, "--set", "color=blue,replicas=3,cache=false")
	k.expect("blue 2 mine", "get", "configmap", "corner-config", "-o", "jsonpath={.data.color} {.data.revision} {.metadata.annotations.note}")
	k.expect("3", "get", "deployment", "corner-web", "-o", "jsonpath={.spec.replicas}")
	k.contains(k.fails("get", "secret", "corner-cache"), "NotFound")
	k.expect("2", "get", "configmap", "corner-hook", "-o", "jsonpath={.data.revision}")

	// A refused upgrade leaves a failed revision, and the next one mends it.
	if out, err := k.helm("upgrade", "corner", dir, "--set", "color=not/a/label"); err == nil {
		t.Errorf("an invalid label was taken:\n%s", out)
	}
	k.contains(k.helms("history", "corner"), "deployed", "failed")

	k.helms("rollback", "corner", "1")
	k.expect("green 1", "get", "configmap", "corner-config", "-o", "jsonpath={.data.color} {.data.revision}")
	k.expect("key", "get", "secret", "corner-cache", "-o", `go-template={{range $k, $v := .data}}{{$k}}{{end}}`)
	k.expect("1", "get", "deployment", "corner-web", "-o", "jsonpath={.spec.replicas}")
	k.contains(k.helms("list"), "corner", "shop-0.1.0", "deployed")
	k.contains(k.helms("get", "manifest", "corner"), "kind: Deployment", "color: green")

	k.helms("uninstall", "corner", "--keep-history")
	k.contains(k.fails("get", "deployment", "corner-web"), "NotFound")
	k.contains(k.helms("status", "corner"), "uninstalled")
	k.helms("rollback", "corner", "4")
	k.expect("green", "get", "configmap", "corner-config", "-o", "jsonpath={.data.color}")
	k.helms("uninstall", "corner")
	k.expect("", "get", "secrets", "-l", "owner=helm", "-o", "name")
	k.contains(k.fails("get", "configmap", "corner-config"), "NotFound")
}
