package systemd

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/golden"
)

// TestSystemdUnderstandsTheUnits, also where it does not run.
func TestSystemdUnderstandsTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("%v (Debian's package systemd has it)", err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	var units []string
	err = fs.WalkDir(Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := Unit(path, bin, "/etc/xebec/containerd.toml")
		if err != nil {
			return err
		}
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if strings.HasSuffix(path, ".timer") {
			units = append(units, file)
		}
		if name, ok := strings.CutSuffix(path, ".service"); ok {
			units = append(units, file)
			// It looks whether the program is there.
			if name == "xebec-certs" {
				name = "xebecadm"
			}
			if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
				return err
			}
		}
		return os.WriteFile(file, raw, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(units) != 9 {
		t.Errorf("units %v", units)
	}
	cmd := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitOfPrograms(t *testing.T) {
	raw, err := Unit("containerd.service", "/opt/xebec/bin", "/etc/xebec/containerd.toml")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "containerd.service", raw)
	if _, err := Unit("nothing.service", "/bin", ""); err == nil {
		t.Error("a unit that does not exist was made")
	}
}
