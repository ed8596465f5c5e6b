package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckKernel(t *testing.T) {
	root := t.TempDir()
	for name, v := range kernelDefaults {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(v+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckKernel(root); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(root, "kernel/panic"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := CheckKernel(root); err == nil || err.Error() != "invalid kernel flag: kernel/panic, expected value: 10, actual value: 0" {
		t.Error(err)
	}
	if err := CheckKernel(t.TempDir()); err == nil || strings.Count(err.Error(), "\n") != len(kernelDefaults)-1 {
		t.Error(err)
	}
}
