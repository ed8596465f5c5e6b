package install

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"xebec.dev/test/cluster"
)

// volume is one of the node's own directories; the kubelet gives it to the
// group that the chart's pods have.
const volume = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: kept-etcd}
spec:
  capacity: {storage: 8Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: kept
  local: {path: "%s"}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]}]}}
`

// hostedKept: Helm installs, upgrades, rolls back and takes away a control
// plane whose etcd has a volume; with all its pods deleted it comes back as it was.
func hostedKept(t *testing.T, c *cluster.Cluster) {
	dir, store := t.TempDir(), c.Members()[0].Path("/var/lib/kept")
	if err := os.MkdirAll(store, 0o755); err != nil {
		t.Fatal(err)
	}
	apply(t, c, fmt.Sprintf(volume, store, c.Members()[0].Name))
	helm := []string{"HELM_CACHE_HOME=" + t.TempDir(), "HELM_CONFIG_HOME=" + t.TempDir(), "HELM_DATA_HOME=" + t.TempDir()}
	const values = " deploy/chart/xebec --namespace kept --set controlPlane.enabled=true,proxy.enabled=false,dns.enabled=false,controlPlane.etcd.storageClass=kept "
	must(t, c, "kubectl create namespace kept; xebecadm config hosted --release kept --namespace kept --dir "+dir+" | kubectl apply -f -")
	if out, err := shell(t, c, "helm install kept"+values+"--set controlPlane.replica=2", helm...); err == nil || !strings.Contains(out, "replica") {
		t.Errorf("a misspelt value was taken: %v\n%s", err, out)
	}
	must(t, c, "helm install kept"+values, helm...)
	running := func() {
		t.Helper()
		for _, name := range []string{"statefulset/kept-etcd", "deployment/kept-apiserver", "deployment/kept-controller-manager", "deployment/kept-scheduler"} {
			c.Must(t, "-n=kept", "rollout", "status", name, "--timeout=180s")
		}
	}
	running()
	ip := strings.TrimSpace(c.Must(t, "-n=kept", "get", "service/kept-apiserver", "-o=jsonpath={.spec.clusterIP}"))
	kubectl := "kubectl --kubeconfig=" + dir + "/etc/kubernetes/super-admin.conf --server=https://" + ip + ":6443 --tls-server-name=kept-apiserver.kept.svc "
	eventually := func(what, script, want string) {
		t.Helper()
		cluster.Eventually(t, what, func() error {
			out, err := shell(t, c, kubectl+script)
			if err == nil && out != want {
				err = fmt.Errorf("%q, expected %q", out, want)
			}
			return err
		})
	}
	eventually("the hosted API server", "get --raw /readyz", "ok")
	must(t, c, kubectl+"create namespace inner && "+kubectl+"-n inner create configmap remembered --from-literal=a=b")

	before := c.Must(t, "-n=kept", "get", "pods", "-o=jsonpath={.items[*].metadata.uid}")
	c.Must(t, "-n=kept", "delete", "pods", "--all", "--timeout=120s")
	running()
	after := c.Must(t, "-n=kept", "get", "pods", "-o=jsonpath={.items[*].metadata.uid}")
	for uid := range strings.FieldsSeq(before) {
		if strings.Contains(after, uid) {
			t.Errorf("pod %s was not deleted", uid)
		}
	}
	eventually("what the hosted cluster remembers", "-n inner get configmap remembered -o jsonpath='{.data.a}'", "b")
	// Its controllers work again: nobody else makes a namespace's service account.
	must(t, c, kubectl+"create namespace later")
	eventually("the hosted controllers", "-n later get serviceaccount default -o jsonpath='{.metadata.name}'", "default")

	replicas := func() string {
		return c.Must(t, "-n=kept", "get", "deployment/kept-scheduler", "-o=jsonpath={.spec.replicas}")
	}
	must(t, c, "helm upgrade kept"+values+"--set controlPlane.replicas=2", helm...)
	running()
	if got := replicas(); got != "2" {
		t.Errorf("after an upgrade there are %s replicas", got)
	}
	must(t, c, "helm rollback kept 1 --namespace kept", helm...)
	if got := replicas(); got != "1" {
		t.Errorf("after a way back there are %s replicas", got)
	}
	eventually("the hosted API server", "get --raw /readyz", "ok")
	must(t, c, "helm uninstall kept --namespace kept", helm...)
	cluster.Eventually(t, "nothing of the release is left", func() error {
		out, err := c.Kubectl(t.Context(), "-n=kept", "get", "pods,services,deployments,statefulsets", "-o=name")
		if err == nil && out != "" {
			err = errors.New(out)
		}
		return err
	})
	c.Must(t, "delete", "namespace/kept", "persistentvolume/kept-etcd", "--wait=false")
}
