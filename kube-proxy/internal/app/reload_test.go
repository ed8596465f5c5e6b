package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

func TestWhileUnchanged(t *testing.T) {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	file := filepath.Join(t.TempDir(), "config.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(head)
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		go func() { ended <- whileUnchanged(file, time.Second, zap.NewNop())(context.Background()) }()
		goesOn := func(name string) {
			t.Helper()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			select {
			case err := <-ended:
				t.Fatalf("%s: %v", name, err)
			default:
			}
		}
		goesOn("the same")
		write(head + "mode: nonsense\n")
		goesOn("not valid")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		goesOn("away")
		write(head + "mode: ipvs\n")
		if err := <-ended; !errors.Is(err, errUpdated) {
			t.Error(err)
		}
	})
}
