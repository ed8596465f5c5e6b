package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	chartfiles "xebec.dev/deploy/chart"
	"xebec.dev/deploy/internal/chart"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubelet"
)

// ChartRelease is the Helm release that the addons are installed as.
var ChartRelease = chart.Release{Name: "xebec", Namespace: "kube-system"}

// addonProxy installs kube-proxy from the chart, and waits a while for it:
// CoreDNS is to come when Services work on this node. A connection that it
// opens to the API server's Service before that hangs for half a minute.
func (i *Init) addonProxy(ctx context.Context) error {
	if err := i.addon(ctx, "proxy"); err != nil || i.Cluster.Proxy.Disabled {
		return err
	}
	i.say("addons", "Applied essential addon: kube-proxy")
	i.waitProxy(ctx)
	return nil
}

// addonDNS installs CoreDNS from the chart.
func (i *Init) addonDNS(ctx context.Context) error {
	if err := i.addon(ctx, "dns"); err != nil || i.Cluster.DNS.Disabled {
		return err
	}
	i.say("addons", "Applied essential addon: CoreDNS")
	return nil
}

// addon installs one part of the chart.
func (i *Init) addon(ctx context.Context, part string) error {
	values, err := ChartValues(i.Cluster, i.Config.LocalAPIEndpoint, i.ProxyConfig)
	if err != nil {
		return err
	}
	if i.Corefile != "" {
		values["dns"].(map[string]any)["corefile"] = i.Corefile
	}
	for other := range values {
		if other != part {
			values[other] = map[string]any{"enabled": false}
		}
	}
	return i.install(ctx, values)
}

// install renders the chart and applies what comes out.
func (i *Init) install(ctx context.Context, values map[string]any) error {
	files, err := fs.Sub(chartfiles.Files, "xebec")
	if err != nil {
		return err
	}
	objects, err := chart.Render(files, ChartRelease, values)
	if err != nil {
		return err
	}
	patches, err := i.patches(i.Config.Patches)
	if err != nil {
		return err
	}
	for at, o := range objects {
		if o["kind"] == "Deployment" {
			if objects[at], err = patches.applyMap(targetDNS, o); err != nil {
				return err
			}
		}
	}
	chart.Adopt(objects, ChartRelease)
	for _, o := range objects {
		if err := i.applyMap(ctx, "helm", o); err != nil {
			return err
		}
	}
	return nil
}

// waitProxy waits a while for kube-proxy on this node, if there is a node. One
// that is late, because its image is pulled, is not waited for.
func (i *Init) waitProxy(ctx context.Context) {
	if i.DryRun {
		return
	}
	node := i.Config.NodeRegistration.Name
	if _, err := client.Get[*corev1.Node](ctx, i.api, "", node); err != nil {
		return
	}
	err := retry(ctx, 15*time.Second, "kube-proxy", func(ctx context.Context) error {
		pods, _, err := client.List[*corev1.Pod](ctx, i.api, client.Selection{Namespace: metav1.NamespaceSystem, Labels: "k8s-app=kube-proxy", Fields: "spec.nodeName=" + node})
		if err != nil {
			return err
		}
		for _, p := range pods {
			if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				return nil
			}
		}
		return errors.New("its pod is not ready")
	})
	if err != nil {
		i.say("addons", "WARNING: %v", err)
	}
}

// ChartValues are the chart's values for a cluster.
func ChartValues(c *kubeadm.ClusterConfiguration, e kubeadm.APIEndpoint, proxyConfig map[string]any) (map[string]any, error) {
	dns, err := kubelet.DNSAddress(c.Networking.ServiceSubnet)
	if err != nil {
		return nil, err
	}
	proxy := map[string]any{
		"enabled": !c.Proxy.Disabled, "image": c.Image("kube-proxy"), "clusterCIDR": c.Networking.PodSubnet,
		"server": "https://" + c.Endpoint(e),
	}
	if len(proxyConfig) > 0 {
		proxy["config"] = proxyConfig
	}
	return map[string]any{"proxy": proxy, "dns": map[string]any{
		"enabled": !c.DNS.Disabled, "image": c.Image("coredns"), "domain": c.Networking.DNSDomain, "clusterIP": dns,
	}}, nil
}
