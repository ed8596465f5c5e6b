package kubelet

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A log that grows is rotated, compressed and bounded, and who follows it
// misses nothing.
func TestLogRotation(t *testing.T) {
	t.Parallel()
	const lines = 5000
	create(t, always(pod("flood", "flood", fmt.Sprint(lines))))
	p := wait(t, "flood", "running", phase(corev1.PodRunning))
	stream, err := node.Client.CoreV1().Pods("default").GetLogs("flood", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	next := 0
	for in := bufio.NewScanner(stream); next < lines && in.Scan(); next++ {
		if want := fmt.Sprintf("line %08d ", next); !strings.HasPrefix(in.Text(), want) {
			t.Fatalf("line %d of the log is %q", next, in.Text())
		}
	}
	if next != lines {
		t.Fatalf("the log ended after %d lines", next)
	}
	log := filepath.Join(node.Dir, "log", "default_flood_"+string(p.UID), "main", "0.log")
	until(t, "rotated logs", func() error {
		all, err := filepath.Glob(log + "*")
		if err != nil {
			return err
		}
		packed, err := filepath.Glob(log + ".*.gz")
		if err != nil {
			return err
		}
		if len(all) > 3 {
			return fmt.Errorf("there are more files than containerLogMaxFiles: %v", all)
		}
		if len(packed) != 1 || len(all) != 3 {
			return fmt.Errorf("want the log, a rotated one and a compressed one; there are %v", all)
		}
		return nil
	})
	if status(get(t, "flood"), "main").RestartCount != 0 {
		t.Error("the container was restarted")
	}
}
