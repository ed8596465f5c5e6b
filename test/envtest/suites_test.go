package envtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"xebec.dev/test/apiservertest"
)

// suites are controller-runtime's own that start an envtest, but for those
// that are about custom resources or webhooks only (builder, webhook,
// conversion, manager/internal/integration, envtest itself) or download other
// servers (client/apiutil).
var suites = []string{
	"client", "cache", "cluster", "controller", "controller/controllerutil", "handler", "internal/controller",
	"internal/recorder", "manager", "metrics/filters", "reconcile", "source",
}

// custom are the specs in them that read or write a custom resource.
const custom = `should not retain any data in the obj variable that is not on the server|` +
	`should log warnings with config.WarningHandler|` + // the warning is about an unknown field of one
	`controller should reconcile`

// installs is what their environments say of definitions to install.
var installs = regexp.MustCompile(`CRDDirectoryPaths:\s*\[\]string\{[^}]*\},?`)

// TestSuites runs them from a copy, in which no environment installs custom
// resource definitions.
func TestSuites(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/controller-runtime").Output()
	if err != nil {
		t.Fatalf("find controller-runtime: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "controller-runtime")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-p", "2", "-timeout", "20m"}
	for _, s := range suites {
		args = append(args, "./pkg/"+s)
		if err := withoutDefinitions(filepath.Join(dir, "pkg", s)); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("go", append(args, "-args", "-ginkgo.no-color", "-ginkgo.flake-attempts=3", "-ginkgo.skip", custom)...)
	c.Dir = dir
	temp := t.TempDir()
	t.Cleanup(func() { end(t, temp) })
	c.Env = append(os.Environ(), "TMPDIR="+temp, "GOWORK=off", "GOFLAGS=-mod=mod", "KUBEBUILDER_ASSETS="+filepath.Dir(apiservertest.Binary("kube-apiserver")))
	got, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if n := strings.Count("\n"+string(got), "\nok "); n != len(suites) {
		t.Errorf("%d suites ran, not %d:\n%s", n, len(suites), got)
	}
	t.Logf("%s", got)
}

// end kills the servers that the suites leave behind: not each of them stops
// what it started. Their directories, and so their arguments, are below temp.
func end(t *testing.T, temp string) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, l := range lines {
		args, err := os.ReadFile(l)
		if err != nil || !strings.Contains(string(args), temp+"/") {
			continue // gone, or somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(l)))
		if err == nil && pid != os.Getpid() {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil && err != syscall.ESRCH {
			t.Errorf("end %s: %v", strings.ReplaceAll(string(args), "\x00", " "), err)
		}
	}
}

// withoutDefinitions rewrites the suite files of a package.
func withoutDefinitions(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_suite_test.go"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.Chmod(f, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(f, installs.ReplaceAll(text, nil), 0o644); err != nil {
			return err
		}
	}
	return nil
}
