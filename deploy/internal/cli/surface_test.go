package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/bootstrap"
)

// TestSurface: every verb and flag that kubeadm has is here, and each verb
// says what it is for.
func TestSurface(t *testing.T) {
	raw, err := os.ReadFile("testdata/surface.txt")
	if err != nil {
		t.Fatal(err)
	}
	root := New(&bytes.Buffer{})
	root.InitDefaultCompletionCmd("help")
	verbs := 0
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		verb, flags, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			t.Fatalf("line %q", line)
		}
		verbs++
		cmd, rest, err := root.Find(strings.Fields(verb))
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no %q: %v %v", verb, rest, err)
			continue
		}
		if cmd.Short == "" {
			t.Errorf("%q does not say what it is for", verb)
		}
		for name := range strings.FieldsSeq(flags) {
			if cmd.Flag(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
				t.Errorf("%q has no --%s", verb, name)
			}
		}
	}
	if verbs < 100 {
		t.Errorf("only %d verbs were looked at", verbs)
	}
}

// does runs the program below a directory of its own.
func does(t *testing.T, root string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(append([]string{"--root-dir=" + root}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const clusterConfig = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nencryptionAlgorithm: ECDSA-P256\n"

func TestMigrateAndValidate(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", clusterConfig)
	bad := write(t, dir, "bad.yaml", clusterConfig+"networking: {podSubnt: x}\n")
	wrong := write(t, dir, "wrong.yaml", clusterConfig+"networking: {podSubnet: x}\n")
	to := filepath.Join(dir, "new.yaml")
	if out, errs, code := does(t, dir, "config", "migrate", "--old-config="+good, "--new-config="+to); code != 0 || out != "" {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	if out, errs, code := does(t, dir, "config", "validate", "--config="+to); code != 0 || out != "ok\n" {
		t.Errorf("what was migrated is not valid: %d %s %s", code, out, errs)
	}
	direct, _, _ := does(t, dir, "config", "migrate", "--old-config="+good)
	if raw, err := os.ReadFile(to); err != nil || string(raw) != direct || !strings.Contains(direct, "kind: InitConfiguration") {
		t.Errorf("%v\n%s", err, direct)
	}
	for _, c := range [][3]string{{"migrate", "--old-config=" + good, "file exists"}, {"migrate", "--old-config=" + bad, "networking.podSubnt"}, {"migrate", "--old-config=" + wrong, "networking.podSubnet"},
		{"validate", "--config=" + wrong, "networking.podSubnet"}, {"validate", "--allow-experimental-api", "mandatory"}, {"migrate", "--allow-experimental-api", "mandatory"}} {
		args := []string{"config", c[0], c[1]}
		if c[0] == "migrate" {
			args = append(args, "--new-config="+to)
		}
		if _, errs, code := does(t, dir, args...); code == 0 || !strings.Contains(errs, c[2]) {
			t.Errorf("%v: %d %s, expected %q", args, code, errs, c[2])
		}
	}
}

// TestDocuments: what programs read is a document and nothing else.
func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "c.yaml", clusterConfig)
	if _, errs, code := does(t, dir, "init", "phase", "certs", "all", "--config="+config); code != 0 {
		t.Fatal(errs)
	}
	for _, c := range []struct {
		kind string
		args []string
	}{{"Images", []string{"config", "images", "list"}}, {"CertificateExpirationInfo", []string{"certs", "check-expiration", "--config=" + config}}} {
		out, errs, code := does(t, dir, append(c.args, "-o=json")...)
		var doc struct {
			APIVersion, Kind                     string
			Images                               []string
			Certificates, CertificateAuthorities []bootstrap.Expiration
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.APIVersion != bootstrap.OutputVersion || doc.Kind != c.kind {
			t.Errorf("%v: %d %v %s\n%s", c.args, code, err, errs, out)
		}
		switch {
		case c.kind == "Images" && len(doc.Images) != 7:
			t.Errorf("images %v", doc.Images)
		case c.kind != "Images" && (len(doc.Certificates) != 11 || len(doc.CertificateAuthorities) != 3 || !doc.Certificates[0].Missing || doc.Certificates[1].Missing || doc.Certificates[1].CAName != "ca"):
			t.Errorf("certificates %+v", doc)
		}
		if out, _, code := does(t, dir, append(c.args, "-o=yaml")...); code != 0 || !strings.HasPrefix(out, "apiVersion: output.kubeadm.k8s.io/v1alpha3\n") {
			t.Errorf("%v: %d %s", c.args, code, out)
		}
		if _, errs, code := does(t, dir, append(c.args, "-o=jsonpath={}")...); code == 0 || !strings.Contains(errs, "expected text, json or yaml") {
			t.Errorf("%v: %d %s", c.args, code, errs)
		}
	}
}

// TestVerbosity: -v, in all its spellings, tells phases on standard error.
func TestVerbosity(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "c.yaml", clusterConfig)
	for _, v := range []string{"-v5", "--v=1", "-v=1"} {
		if _, errs, code := does(t, dir, "init", "phase", "certs", "ca", "--config="+config, v); code != 0 || !strings.Contains(errs, "[phase] certs/ca begins") || !strings.Contains(errs, "[phase] certs/ca done in") {
			t.Errorf("%s: %d %s", v, code, errs)
		}
	}
	if _, errs, code := does(t, dir, "init", "phase", "certs", "ca", "--config="+config); code != 0 || errs != "" {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := does(t, dir, "-v1", "init", "phase", "certs", "apiserver", "--config="+config, "--cert-dir=/none"); code == 0 || !strings.Contains(errs, "certs/apiserver failed after") {
		t.Errorf("%d %s", code, errs)
	}
}

// TestFilesAndFlagsTogether: a flag that the file would silently win over is refused.
func TestFilesAndFlagsTogether(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "c.yaml", clusterConfig)
	upgrade := write(t, dir, "u.yaml", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\nplan: {printConfg: true}\n")
	for _, c := range []struct{ args, want string }{
		{"init phase certs ca --pod-network-cidr=10.0.0.0/8 --config=" + config, "can not mix '--config' with arguments [pod-network-cidr]"},
		{"token create --ttl=1h --config=" + config, "can not mix '--config' with arguments [ttl]"},
		{"upgrade plan --config=" + config, "has no UpgradeConfiguration"},
		{"upgrade plan --config=" + upgrade, "plan.printConfg"},
		{"upgrade diff -c -1", "--context-lines"},
		{"join 1.2.3.4:6443 --config=" + config, "no JoinConfiguration"},
		{"init --pod-network-cdr=1", "unknown flag: --pod-network-cdr"},
	} {
		if _, errs, code := does(t, dir, strings.Fields(c.args)...); code == 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s, expected %q", c.args, code, errs, c.want)
		}
	}
}
