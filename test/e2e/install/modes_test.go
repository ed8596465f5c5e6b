package install

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"xebec.dev/test/cluster"
)

// modes has kube-proxy take the mode iptables by a value of the chart, with
// the programs that its image has, and back.
func modes(t *testing.T, c *cluster.Cluster) {
	apply(t, c, application)
	c.Must(t, "rollout", "status", "deployment/app", "--timeout=120s")
	addresses := strings.Fields(c.Must(t, "get", "service/app", "-o=jsonpath={.spec.clusterIPs[0]} {.spec.clusterIPs[1]}"))
	config := func(key string) string {
		return c.Must(t, "-n=kube-system", "get", "configmap/kube-proxy", "-o=jsonpath={.data."+key+"}")
	}
	_, server, _ := strings.Cut(config(`kubeconfig\.conf`), "server: ")
	server, _, _ = strings.Cut(server, "\n")
	helm := []string{"HELM_CACHE_HOME=" + t.TempDir(), "HELM_CONFIG_HOME=" + t.TempDir(), "HELM_DATA_HOME=" + t.TempDir()}
	for _, mode := range []string{"iptables", "nftables"} {
		must(t, c, "helm upgrade --install xebec deploy/chart/xebec --namespace kube-system --set proxy.mode="+mode+" --set proxy.server="+server+
			` --set 'proxy.clusterCIDR=10.244.0.0/16\,fd00:10:244::/56'`, helm...)
		// It ends when the kubelet has given it the new configuration, and is started anew.
		// What the other mode has left goes a moment later.
		cluster.Eventually(t, "kube-proxy is in the mode "+mode+", and in no other", func() error {
			out, err := shell(t, c, "curl -sS -m 10 http://127.0.0.1:10249/proxyMode; nft list ruleset")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			is := mode == "iptables"
			if !strings.HasPrefix(out, mode) || strings.Contains(out, "table ip6 kube-proxy") == is || strings.Contains(out, "jump KUBE-SVC-") != is {
				return errors.New(out)
			}
			return nil
		})
		for _, a := range []string{addresses[0], "[" + addresses[1] + "]"} {
			says(t, c, "Hello from app-", "wget", "-qO-", "http://"+a)
			cluster.Eventually(t, "the Service from the node", func() error {
				out, err := shell(t, c, "curl -sS -m 10 'http://"+a+"'")
				if err == nil && !strings.Contains(out, "Hello from app-") {
					err = errors.New(out)
				}
				return err
			})
		}
		says(t, c, addresses[0], "nslookup", "-type=a", "app.default.svc.cluster.local")
		// Endpoints are followed: of none nothing answers.
		c.Must(t, "scale", "deployment/app", "--replicas=0")
		cluster.Eventually(t, "the Service without endpoints refuses", func() error {
			out, err := shell(t, c, "curl -sS -m 10 http://"+addresses[0])
			if err == nil || !strings.Contains(out, "curl: (7)") {
				return fmt.Errorf("%v: %s", err, out)
			}
			return nil
		})
		c.Must(t, "scale", "deployment/app", "--replicas=2")
		says(t, c, "Hello from app-", "wget", "-qO-", "http://app")
	}
}
