// Package cli has kubectl, unmodified, as the judge of a running server.
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

// kubectl runs bin/kubectl against one server, in one namespace.
type kubectl struct {
	t         *testing.T
	server    *apiservertest.Server
	home      string
	namespace string
	env       []string
	stdin     string
}

// topics are the commands under test, each in a namespace of its own name.
var topics = map[string]func(k kubectl){
	"get":          getForms,
	"get-select":   getSelections,
	"get-watch":    getWatch,
	"get-every":    getEvery,
	"describe":     describe,
	"create":       create,
	"generators":   generators,
	"apply":        applyClientSide,
	"apply-server": applyServerSide,
	"apply-prune":  applyPrune,
	"diff":         diff,
	"edit":         edit,
	"replace":      replace,
	"patch":        patch,
	"label":        labelAndAnnotate,
	"set":          set,
	"scale":        scale,
	"rollout":      rollout,
	"delete":       deleteModes,
	"delete-ns":    deleteNamespace,
	"wait":         wait,
	"explain":      explainEvery,
	"discovery":    discovery,
	"auth":         auth,
	"token":        token,
	"certificate":  certificate,
	"events":       events,
	"raw":          raw,
	"config":       config,
	"node":         node,
	"proxy":        proxy,
}

func TestKubectl(t *testing.T) {
	s := apiservertest.Start(t)
	home := t.TempDir()
	for name, topic := range topics {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := kubectl{t: t, server: s, home: home, namespace: name}
			k.run("create", "namespace", name)
			k.run("create", "serviceaccount", "default") // no controller does
			topic(k)
		})
	}
}

func (k kubectl) in(stdin string) kubectl { k.stdin = stdin; return k }
func (k kubectl) with(env ...string) kubectl {
	k.env = append(k.env[:len(k.env):len(k.env)], env...)
	return k
}
func (k kubectl) inNamespace(n string) kubectl { k.namespace = n; return k }
func (k kubectl) file(name, text string) string {
	path := filepath.Join(k.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}

// command is kubectl in the namespace, nothing of the caller's environment.
// Commands that never end are killed after two minutes.
func (k kubectl) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	k.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, apiservertest.Binary("kubectl"), append([]string{"-n", k.namespace}, args...)...)
	c.Env = append([]string{"HOME=" + k.home, "KUBECONFIG=" + k.server.Kubeconfig, "PATH=" + os.Getenv("PATH")}, k.env...)
	c.Stdin = strings.NewReader(k.stdin)
	return c
}

// try runs it and returns both outputs and the exit status.
func (k kubectl) try(args ...string) (stdout, stderr string, code int) {
	k.t.Helper()
	c := k.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		k.t.Fatalf("kubectl (make kubectl makes it): %v", err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// run returns what a command that must succeed prints.
func (k kubectl) run(args ...string) string {
	k.t.Helper()
	out, errs, code := k.try(args...)
	if code != 0 {
		k.t.Fatalf("kubectl %s: exit status %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails returns the errors of a command that must not succeed.
func (k kubectl) fails(args ...string) string {
	k.t.Helper()
	out, errs, code := k.try(args...)
	if code == 0 {
		k.t.Fatalf("kubectl %s succeeded\n%s%s", strings.Join(args, " "), out, errs)
	}
	return errs
}

// expect runs a command and compares all it prints but surrounding space.
func (k kubectl) expect(want string, args ...string) {
	k.t.Helper()
	if got := strings.TrimSpace(k.run(args...)); got != want {
		k.t.Errorf("kubectl %s\n got: %s\nwant: %s", strings.Join(args, " "), got, want)
	}
}

// contains checks that every part is in the text.
func (k kubectl) contains(text string, parts ...string) {
	k.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			k.t.Errorf("no %q in\n%s", p, text)
		}
	}
}

// field is one value of an object, by JSONPath.
func (k kubectl) field(object, path string) string {
	k.t.Helper()
	return k.run("get", object, "-o", "jsonpath="+path)
}

// words of a line, for tables whose column widths do not matter.
func words(line string) string { return strings.Join(strings.Fields(line), " ") }
