package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"xebec.dev/test/cluster"
)

// certificates are renewed while everything runs, and nothing is restarted:
// not when they run out either.
func certificates(t *testing.T, c *cluster.Cluster) {
	run := adm(t, c)
	const plane = "-l=tier=control-plane"
	restarts := func() string {
		return c.Must(t, "get", "pods", "-n=kube-system", plane, "-o=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}")
	}
	before := restarts()
	config := filepath.Join(t.TempDir(), "short.yaml")
	const life = 100 * time.Second
	if err := os.WriteFile(config, []byte("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncertificateValidityPeriod: "+life.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What the controller manager and the scheduler call by has an hour left
	// at most from the moment that they use the short-lived ones.
	begun := shortLived(t, c)
	for _, name := range []string{"controller-manager.conf", "scheduler.conf"} {
		if out, err := run("certs renew " + name + " --config=" + config); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	end := time.Now().Add(life)
	cluster.Eventually(t, "calls by the short-lived certificates", func() error {
		if n := shortLived(t, c); n < begun+2 {
			return fmt.Errorf("%d, %d at first", n, begun)
		}
		return nil
	})
	serial := func(port string) string {
		// etcd ends a connection without a certificate, but shows its own.
		return must(t, c, "(openssl s_client -connect 127.0.0.1:"+port+" </dev/null 2>/dev/null || true) | openssl x509 -serial -noout")
	}
	apiserver, etcd := serial("6443"), serial("2379")
	out, err := run("certs renew all")
	if err != nil || !strings.Contains(out, "Nothing has to be restarted") {
		t.Fatalf("%v\n%s", err, out)
	}
	cluster.Eventually(t, "the API server's and etcd's own new certificates", func() error {
		if a, e := serial("6443"), serial("2379"); a == apiserver || e == etcd {
			return fmt.Errorf("the API server has %s, %s before; etcd %s, %s before", a, apiserver, e, etcd)
		}
		return nil
	})
	time.Sleep(time.Until(end) + time.Second)
	last := shortLived(t, c)
	c.Must(t, "create", "deployment", "renewed", "--image="+busybox, "--replicas=2", "--", "sleep", "36000")
	c.Must(t, "rollout", "status", "deployment/renewed", "--timeout=120s")
	c.Must(t, "delete", "deployment/renewed")
	if now := shortLived(t, c); now != last {
		t.Errorf("%d calls by certificates that have run out", now-last)
	}
	if now := restarts(); now != before {
		t.Errorf("restarts before:\n%safter:\n%s", before, now)
	}
}

// shortLived is how many calls the API server has had by certificates with
// half an hour left or less.
func shortLived(t *testing.T, c *cluster.Cluster) int {
	t.Helper()
	for line := range strings.Lines(c.Must(t, "get", "--raw=/metrics")) {
		if count, found := strings.CutPrefix(line, `apiserver_client_certificate_expiration_seconds_bucket{le="1800"} `); found {
			n, err := strconv.Atoi(strings.TrimSpace(count))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the API server does not count the certificates of its clients")
	return 0
}
