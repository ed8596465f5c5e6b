package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// Observed is what a plan to upgrade looks at.
type Observed struct {
	Cluster *kubeadm.ClusterConfiguration
	// Kubelets by node.
	Kubelets map[string]string
	// Components of the control plane, COMPONENT/NODE, and their image's tag.
	Components map[string]string
	NotReady   []string
}

// Observe reads the cluster.
func Observe(ctx context.Context, path string) (*Observed, error) {
	c, err := client.Dial(client.Config{Kubeconfig: path}, builtin.Scheme(), client.Options{UserAgent: manager})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	o := &Observed{Kubelets: map[string]string{}, Components: map[string]string{}}
	if o.Cluster, err = ReadClusterConfig(ctx, path); err != nil {
		return nil, err
	}
	nodes, _, err := client.List[*corev1.Node](ctx, c, client.Selection{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		o.Kubelets[n.Name] = n.Status.NodeInfo.KubeletVersion
		if !slices.ContainsFunc(n.Status.Conditions, func(k corev1.NodeCondition) bool {
			return k.Type == corev1.NodeReady && k.Status == corev1.ConditionTrue
		}) {
			o.NotReady = append(o.NotReady, n.Name)
		}
	}
	pods, _, err := client.List[*corev1.Pod](ctx, c, client.Selection{Namespace: metav1.NamespaceSystem, Labels: "tier=control-plane"})
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		image := p.Spec.Containers[0].Image
		o.Components[p.Labels["component"]+"/"+p.Spec.NodeName] = image[strings.LastIndexByte(image, ':')+1:]
	}
	slices.Sort(o.NotReady)
	return o, nil
}

// Without is the same without components of a name, if they are to be left out.
func (o *Observed) Without(leave bool, component string) *Observed {
	if !leave {
		return o
	}
	out := *o
	out.Components = maps.Clone(o.Components)
	maps.DeleteFunc(out.Components, func(key, _ string) bool { return strings.HasPrefix(key, component+"/") })
	return &out
}

// PlanChecks are those before a plan, by the names that may be ignored.
func PlanChecks(o *Observed) []Check {
	return []Check{{Name: "ControlPlaneNodesReady", Run: func(context.Context) error {
		if len(o.NotReady) > 0 {
			return fmt.Errorf("these nodes are not Ready: %s", strings.Join(o.NotReady, ", "))
		}
		return nil
	}}}
}

// UpgradePlan says what an upgrade to a version would change, or why it
// cannot be.
func UpgradePlan(o *Observed, target string, allow kubeadm.Unstable) (*Plan, error) {
	to, err := version.ParseSemantic(target)
	if err != nil {
		return nil, fmt.Errorf("version %q: %w", target, err)
	}
	from, err := version.ParseSemantic(o.Cluster.KubernetesVersion)
	if err != nil {
		return nil, fmt.Errorf("the cluster's version %q: %w", o.Cluster.KubernetesVersion, err)
	}
	if err := stable(to, allow); err != nil {
		return nil, err
	}
	var errs []error
	if to.LessThan(from) {
		errs = append(errs, fmt.Errorf("the cluster is at %s: there is no way back to %s", o.Cluster.KubernetesVersion, target))
	}
	if to.Minor() > from.Minor()+1 {
		errs = append(errs, fmt.Errorf("the cluster is at %s: %s is more than one minor version ahead", o.Cluster.KubernetesVersion, target))
	}
	if len(o.NotReady) > 0 {
		errs = append(errs, fmt.Errorf("these nodes are not Ready: %s", strings.Join(o.NotReady, ", ")))
	}
	for _, node := range sortedKeys(o.Kubelets) {
		k, err := version.ParseSemantic(o.Kubelets[node])
		if err == nil && (to.LessThan(k) || to.Minor() > k.Minor()+3) {
			errs = append(errs, fmt.Errorf("node %s has kubelet %s, which does not work with an API server %s", node, o.Kubelets[node], target))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return newPlan(o, target), nil
}

// newPlan compares what there is with what a version has.
func newPlan(o *Observed, target string) *Plan {
	p := &Plan{TypeMeta: metav1.TypeMeta{APIVersion: OutputVersion, Kind: "UpgradePlan"}, cluster: o.Cluster.KubernetesVersion, program: target}
	p.target = "v" + strings.TrimPrefix(strings.SplitN(target, "+", 2)[0], "v")
	next := *o.Cluster
	next.KubernetesVersion = p.target
	var kubelets, components []ComponentPlan
	for _, node := range sortedKeys(o.Kubelets) {
		if strings.SplitN(o.Kubelets[node], "+", 2)[0] != p.target {
			kubelets = append(kubelets, ComponentPlan{Name: "kubelet", CurrentVersion: o.Kubelets[node], NewVersion: p.target, NodeName: node})
		}
	}
	late := p.target != p.cluster
	for _, key := range sortedKeys(o.Components) {
		component, node, _ := strings.Cut(key, "/")
		image := next.Image(component)
		c := ComponentPlan{Name: component, CurrentVersion: o.Components[key], NewVersion: image[strings.LastIndexByte(image, ':')+1:], NodeName: node}
		late = late || c.CurrentVersion != c.NewVersion
		components = append(components, c)
	}
	p.kubelets, p.components = kubelets, components
	if !late {
		p.components = nil
	}
	p.AvailableUpgrades = []AvailableUpgrade{}
	if all := append(kubelets, p.components...); len(all) > 0 {
		p.AvailableUpgrades = append(p.AvailableUpgrades, AvailableUpgrade{Description: "the level of this program", Components: all})
	}
	p.ConfigVersions = []ConfigVersion{{Group: "kubeproxy.config.k8s.io", CurrentVersion: "v1alpha1", PreferredVersion: "v1alpha1"},
		{Group: "kubelet.config.k8s.io", CurrentVersion: "v1beta1", PreferredVersion: "v1beta1"}}
	return p
}

// Plan is what an upgrade would change, as kubeadm's output.kubeadm.k8s.io has it.
type Plan struct {
	metav1.TypeMeta   `json:",inline"`
	AvailableUpgrades []AvailableUpgrade `json:"availableUpgrades"`
	ConfigVersions    []ConfigVersion    `json:"configVersions"`

	cluster, program, target string
	// Of one that has nothing to upgrade there are no components.
	kubelets, components []ComponentPlan
}

// AvailableUpgrade is one way to go.
type AvailableUpgrade struct {
	Description string          `json:"description"`
	Components  []ComponentPlan `json:"components"`
}

// ComponentPlan is what becomes of one component.
type ComponentPlan struct {
	Name           string `json:"name"`
	CurrentVersion string `json:"currentVersion"`
	NewVersion     string `json:"newVersion"`
	NodeName       string `json:"nodeName,omitempty"`
}

// ConfigVersion is that of a component's configuration.
type ConfigVersion struct {
	Group                 string `json:"group"`
	CurrentVersion        string `json:"currentVersion"`
	PreferredVersion      string `json:"preferredVersion"`
	ManualUpgradeRequired bool   `json:"manualUpgradeRequired"`
}

// String is what upgrade plan prints.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[upgrade/versions] Cluster version: %s\n[upgrade/versions] xebecadm version: %s\n\n", p.cluster, p.program)
	table := func(of []ComponentPlan) {
		row := func(cells ...string) {
			fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-26s %-16s %-18s %s", cells[0], cells[1], cells[2], cells[3]), " "))
		}
		row("COMPONENT", "NODE", "CURRENT", "TARGET")
		for _, c := range of {
			row(c.Name, c.NodeName, c.CurrentVersion, c.NewVersion)
		}
	}
	if len(p.kubelets) > 0 {
		b.WriteString("Components that must be upgraded manually after you have upgraded the control plane:\n")
		table(p.kubelets)
		b.WriteByte('\n')
	}
	if len(p.components) == 0 {
		b.WriteString("Awesome, you're up-to-date! Enjoy!\n")
		return b.String()
	}
	b.WriteString("Upgrade to the level of this program:\n\n")
	table(p.components)
	fmt.Fprintf(&b, "\nYou can now apply the upgrade by executing the following command:\n\n\txebecadm upgrade apply %s\n", p.target)
	return b.String()
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// DefaultKubelet is the KubeletConfiguration that a cluster begins with.
func DefaultKubelet(c *kubeadm.ClusterConfiguration) (map[string]any, error) {
	return kubelet.Shared(c, true, nil)
}

// Server is the URL that the node's administrator uses.
func Server(n *Node, c *kubeadm.ClusterConfiguration) (string, error) {
	if c.ControlPlaneEndpoint != "" {
		return "https://" + c.Endpoint(kubeadm.APIEndpoint{BindPort: kubeadm.DefaultBindPort}), nil
	}
	k, err := kubeconfig.Read(filepath.Clean(n.path(layout.AdminConf)))
	if err != nil {
		return "", err
	}
	return k.Clusters[0].Cluster.Server, nil
}

// ClientCertificate makes a user with a certificate.
func ClientCertificate(name string, org []string, ca *pki.Pair, algorithm string, life time.Duration) (kubeconfig.User, error) {
	if ca.Key == nil {
		return kubeconfig.User{}, errors.New("the key of the cluster's authority is not on this node")
	}
	return kubeconfig.Client(pki.Spec{Name: name, CA: "ca", CN: name, Org: org, Uses: clientUse}, ca, algorithm, time.Now(), life)
}
