package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
)

// Upgrade brings one node to a version: the first control plane node and with
// it the cluster (upgrade apply), or one more node (upgrade node).
type Upgrade struct {
	// Init has the words of the node: its cluster, at the new version, and what
	// was found out about it.
	*Init
	Options kubeadm.UpgradeOptions
	// Apply says that the cluster's version changes.
	Apply, Force bool
	// Unstable are the versions that are no releases which it may go to.
	Unstable kubeadm.Unstable
	// PrintConfig prints the configuration that it works with.
	PrintConfig bool
	// Program is the version of this program.
	Program string
	// Confirm asks a person; nil is no question.
	Confirm func() error

	plane bool
	admin string // kubeconfig
	stamp string // names this run's directories
	state *Observed
}

// ApplyPhases are the steps of upgrade apply in kubeadm's order.
func ApplyPhases() []Phase[*Upgrade] {
	return []Phase[*Upgrade]{
		{"preflight", "Run preflight checks before upgrade", (*Upgrade).preflight, nil},
		{"control-plane", "Upgrade the control plane", (*Upgrade).controlPlane, nil},
		{"upload-config", "Upload the kubeadm and kubelet configurations to ConfigMaps", nil, []Phase[*Upgrade]{
			{"kubeadm", "Upload the kubeadm ClusterConfiguration to a ConfigMap", func(u *Upgrade, ctx context.Context) error { return u.uploadCluster(ctx) }, nil},
			{"kubelet", "Upload the kubelet configuration to a ConfigMap", func(u *Upgrade, ctx context.Context) error { return u.uploadKubelet(ctx) }, nil}}},
		{"kubelet-config", "Upgrade the kubelet configuration for this node", (*Upgrade).kubeletConfig, nil},
		{"bootstrap-token", "Configures bootstrap token and cluster-info RBAC rules", (*Upgrade).rights, nil},
		{"addon", "Upgrade the default kubeadm addons", nil, upgradedAddons()},
		{"post-upgrade", "Run post upgrade tasks", (*Upgrade).post, nil},
	}
}

// NodePhases are the steps of upgrade node in kubeadm's order.
func NodePhases() []Phase[*Upgrade] {
	return []Phase[*Upgrade]{
		{"preflight", "Run upgrade node pre-flight checks", (*Upgrade).preflight, nil},
		{"control-plane", "Upgrade the control plane instance deployed on this node, if any", (*Upgrade).controlPlane, nil},
		{"kubelet-config", "Upgrade the kubelet configuration for this node", (*Upgrade).kubeletConfig, nil},
		{"addon", "Upgrade the default kubeadm addons", nil, upgradedAddons()},
		{"post-upgrade", "Run post upgrade tasks", (*Upgrade).post, nil},
	}
}

func upgradedAddons() []Phase[*Upgrade] {
	return []Phase[*Upgrade]{
		{"kube-proxy", "Upgrade the kube-proxy addon", func(u *Upgrade, ctx context.Context) error { return u.addon(ctx, u.addonProxy) }, nil},
		{"coredns", "Upgrade the CoreDNS addon", func(u *Upgrade, ctx context.Context) error { return u.addon(ctx, u.addonDNS) }, nil},
	}
}

// OpenUpgrade reads what the cluster and the node are. kubeconfig is empty for
// the node's own.
func OpenUpgrade(ctx context.Context, n *Node, kubeconfig string) (*Upgrade, error) {
	u := &Upgrade{Init: &Init{Node: n, Config: &kubeadm.InitConfiguration{}}, admin: kubeconfig, stamp: time.Now().Format("2006-01-02-15-04-05")}
	if _, err := os.Stat(n.path(layout.Manifests + "/kube-apiserver.yaml")); err == nil {
		u.plane = true
	}
	if u.admin == "" {
		u.admin = n.path(layout.KubeletConf)
		if u.plane {
			u.admin = n.path(layout.AdminConf)
		}
	}
	var err error
	u.say("upgrade", "Reading configuration from the %q ConfigMap in namespace %q...", configMapKubeadm, "kube-system")
	if u.Cluster, err = ReadClusterConfig(ctx, u.admin); err != nil {
		return nil, err
	}
	return u, u.findNode()
}

// findNode takes from the node's files what its init or join was told.
func (u *Upgrade) findNode() error {
	raw, err := os.ReadFile(u.path(layout.KubeletFlags))
	if err != nil {
		return fmt.Errorf("this machine is no node that init or join has made: %w", err)
	}
	reg := &u.Config.NodeRegistration
	for _, word := range kubelet.ParseEnv(raw, "KUBELET_KUBEADM_ARGS") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "--hostname-override":
			reg.Name = value
		case "--container-runtime-endpoint": // a node that an earlier version has made
			reg.CRISocket = value
		}
	}
	if reg.CRISocket == "" {
		reg.CRISocket = u.Runtime()
	}
	address := ""
	if u.plane {
		pod, err := readManifest(u.path(layout.Manifests + "/kube-apiserver.yaml"))
		if err != nil {
			return err
		}
		if address, err = u.findEndpoint(pod); err != nil {
			return err
		}
	}
	u.Config.Default(u.Hostname, address)
	if !u.plane || u.Cluster.Etcd.Local == nil {
		return nil
	}
	pod, err := readManifest(u.path(layout.Manifests + "/etcd.yaml"))
	if err != nil {
		return err
	}
	u.Members = otherMembers(pod.Spec.Containers[0].Command, reg.Name)
	return nil
}

func readManifest(file string) (*corev1.Pod, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &corev1.Pod{}
	if err = yaml.Unmarshal(raw, p); err == nil && len(p.Spec.Containers) == 0 {
		err = errors.New("it has no containers")
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", file, err)
	}
	return p, nil
}

const endpointAnnotation = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"

func (u *Upgrade) findEndpoint(pod *corev1.Pod) (address string, err error) {
	given := pod.Annotations[endpointAnnotation]
	at := strings.LastIndexByte(given, ':')
	if at < 0 {
		return "", fmt.Errorf("manifest kube-apiserver.yaml: annotation %s is %q: expected ADDRESS:PORT", endpointAnnotation, given)
	}
	if _, err := fmt.Sscan(given[at+1:], &u.Config.LocalAPIEndpoint.BindPort); err != nil {
		return "", fmt.Errorf("manifest kube-apiserver.yaml: annotation %s is %q: %w", endpointAnnotation, given, err)
	}
	return strings.Trim(given[:at], "[]"), nil
}

// otherMembers are those of etcd's --initial-cluster but the node's own, if it
// joined a cluster that was there.
func otherMembers(command []string, node string) []string {
	if !slices.Contains(command, "--initial-cluster-state=existing") {
		return nil
	}
	for _, word := range command {
		if list, ok := strings.CutPrefix(word, "--initial-cluster="); ok {
			return slices.DeleteFunc(strings.Split(list, ","), func(m string) bool { return strings.HasPrefix(m, node+"=") })
		}
	}
	return nil
}

// Run goes to a version; empty is the cluster's. It runs one phase, or, when
// that is empty, those that are not skipped.
func (u *Upgrade) Run(ctx context.Context, target, phase string) error {
	phases := NodePhases()
	if u.Apply {
		phases = ApplyPhases()
	}
	if target == "" {
		target = u.Cluster.KubernetesVersion
	}
	var err error
	if u.Apply {
		if u.state, err = Observe(ctx, u.admin); err != nil {
			return err
		}
	}
	next := *u.Cluster
	next.KubernetesVersion = "v" + strings.TrimPrefix(strings.SplitN(target, "+", 2)[0], "v")
	u.Cluster = &next
	u.DryRun = u.DryRun || u.Options.DryRun
	u.Config.Patches = u.Options.Patches
	if u.PrintConfig {
		raw, err := kubeadm.Print(u.Cluster)
		if err != nil {
			return err
		}
		fmt.Fprintf(u.Out, "[upgrade/config] Configuration used:\n%s", raw)
	}
	if err := u.existing(ctx); err != nil {
		return err
	}
	if phase != "" {
		return runPhase(u.tellLate(ctx), u, phases, phase)
	}
	return runPhases(u.tellLate(ctx), u, phases, u.Options.SkipPhases)
}

// existing reads the configurations that users may have changed: they are kept.
func (u *Upgrade) existing(ctx context.Context) error {
	c, err := client.Dial(client.Config{Kubeconfig: u.admin}, builtin.Scheme(), client.Options{UserAgent: manager})
	if err != nil {
		return err
	}
	u.api = c
	read := func(name, key string, use func([]byte) error) error {
		m, err := client.Get[*corev1.ConfigMap](ctx, c, metav1.NamespaceSystem, name)
		if apierrors.IsNotFound(err) {
			return nil // that addon is not there
		}
		if err == nil {
			err = use([]byte(m.Data[key]))
		}
		if err != nil {
			return fmt.Errorf("read ConfigMap kube-system/%s: %w", name, err)
		}
		return nil
	}
	err = read(configMapKubelet, "kubelet", func(raw []byte) error { return yaml.Unmarshal(raw, &u.shared) })
	if err == nil && u.shared == nil {
		err = fmt.Errorf("there is no ConfigMap kube-system/%s, or it is empty", configMapKubelet)
	}
	if err != nil || !u.plane {
		return err // what follows is not for workers to read
	}
	return errors.Join(
		read("kube-proxy", "config.conf", func(raw []byte) error { return yaml.Unmarshal(raw, &u.ProxyConfig) }),
		read("coredns", "Corefile", func(raw []byte) error { u.Corefile = string(raw); return nil }))
}

func (u *Upgrade) preflight(ctx context.Context) error {
	u.say("upgrade/preflight", "Running pre-flight checks")
	reg := &u.Config.NodeRegistration
	checks := []Check{
		{Name: "IsPrivilegedUser", Run: func(context.Context) error {
			if os.Getuid() != 0 && !u.DryRun {
				return errors.New("user is not running as root")
			}
			return nil
		}},
		{Name: "CRI", Run: func(ctx context.Context) error { return RuntimeReady(ctx, reg.CRISocket) }},
	}
	if u.plane {
		for _, name := range u.order() {
			checks = append(checks, Check{Name: "ManifestAvailable-" + name, Run: func(context.Context) error {
				_, err := readManifest(u.path(filepath.Join(layout.Manifests, name+".yaml")))
				return err
			}})
		}
		checks = append(checks, Check{Name: "ImagePull", Run: func(ctx context.Context) error { return u.pull(ctx) }})
	}
	if u.Apply {
		u.say("upgrade/versions", "Cluster version: %s", u.state.Cluster.KubernetesVersion)
		u.say("upgrade/versions", "xebecadm version: %s", u.Program)
		if err := u.permitted(); err != nil {
			if !u.Force {
				return err
			}
			u.say("upgrade/version", "WARNING, passed over by --force: %v", err)
		}
		if u.Confirm != nil && !u.DryRun {
			if err := u.Confirm(); err != nil {
				return err
			}
		}
	}
	return u.Node.Preflight(ctx, u.Options.IgnorePreflightErrors, checks)
}

// permitted says why the upgrade may not be.
func (u *Upgrade) permitted() error {
	u.say("upgrade/version", "You have chosen to upgrade the cluster version to %q", u.Cluster.KubernetesVersion)
	to, err := version.ParseSemantic(u.Cluster.KubernetesVersion)
	if err != nil {
		return err
	}
	mine, err := version.ParseSemantic(u.Program)
	if err != nil {
		return err
	}
	if mine.LessThan(to) {
		return fmt.Errorf("specified version to upgrade to %q is higher than the xebecadm version %q. Upgrade xebecadm first using the tool you used to install xebecadm", u.Cluster.KubernetesVersion, u.Program)
	}
	_, err = UpgradePlan(u.state, u.Cluster.KubernetesVersion, u.Unstable)
	return err
}

// stable refuses a version that is no release, unless it is asked for.
func stable(v *version.Version, allow kubeadm.Unstable) error {
	pre := v.PreRelease()
	if pre == "" || kubeadm.Yes(allow.AllowExperimentalUpgrades) || strings.HasPrefix(pre, "rc") && kubeadm.Yes(allow.AllowRCUpgrades) {
		return nil
	}
	return fmt.Errorf("specified version to upgrade to %q is an unstable version and such upgrades weren't allowed via setting the --allow-*-upgrades flags", "v"+v.String())
}

// pull sees to it that the images are there before anything stops.
func (u *Upgrade) pull(ctx context.Context) error {
	u.say("upgrade/preflight", "Pulling images required for setting up a Kubernetes cluster")
	var images []string
	for _, name := range u.order() {
		images = append(images, u.Cluster.Image(name))
	}
	reg := u.Config.NodeRegistration
	reg.ImagePullPolicy, reg.ImagePullSerial = u.Options.ImagePullPolicy, u.Options.ImagePullSerial
	return pullsOf(&reg).pull(ctx, images)
}

// order is that in which components are upgraded.
func (u *Upgrade) order() []string {
	names := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	if u.Cluster.Etcd.Local != nil && (u.Options.EtcdUpgrade == nil || *u.Options.EtcdUpgrade) {
		names = append([]string{"etcd"}, names...)
	}
	return names
}

// kubeletConfig writes the cluster's configuration of kubelets, and keeps what
// is this machine's own of the one before.
func (u *Upgrade) kubeletConfig(context.Context) error {
	file := u.path(layout.KubeletConfig)
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var before map[string]any
	if err := yaml.Unmarshal(old, &before); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	next := kubelet.Local(u.shared, kubelet.Options{Root: u.Root})
	for _, own := range []string{"cgroupDriver", "cgroupRoot", "resolvConf"} {
		if v, ok := before[own]; ok {
			next[own] = v
		}
	}
	raw, err := u.kubeletText(kubelet.WithRuntime(next, u.Config.NodeRegistration.CRISocket), u.Config.Patches)
	if err != nil {
		return err
	}
	if u.DryRun {
		u.say("dryrun", "Would write the kubelet's configuration to %q (it changes: %v)", file, !bytes.Equal(old, raw))
		return nil
	}
	backup := filepath.Join(layout.Kubernetes, "tmp", "kubeadm-kubelet-config-"+u.stamp, "config.yaml")
	u.say("upgrade/kubelet-config", "The kubelet configuration for this node was backed up to %q", u.path(backup))
	if err := u.writeFile(backup, old, 0o600); err != nil {
		return err
	}
	u.say("kubelet-start", "Writing kubelet configuration to file %q", file)
	return u.writeFile(layout.KubeletConfig, raw, 0o644)
}

func (u *Upgrade) rights(ctx context.Context) error {
	return u.apply(ctx, append(bootstrapperObjects(), adminObjects()...)...)
}

// addon upgrades kube-proxy or CoreDNS when the whole control plane is there:
// they may not be ahead of an API server.
func (u *Upgrade) addon(ctx context.Context, install func(context.Context) error) error {
	if !u.plane {
		u.say("upgrade/addon", "Skipping the addons: this is no control plane node")
		return nil
	}
	late, err := u.lateInstances(ctx)
	if err != nil {
		return err
	}
	if len(late) > 0 && !u.DryRun {
		u.say("upgrade/addon", "Skipping upgrade of addons because control plane instances %v have not been upgraded", late)
		return nil
	}
	return install(ctx)
}

func (u *Upgrade) lateInstances(ctx context.Context) ([]string, error) {
	var pods []*corev1.Pod
	err := u.ask(ctx, "list of API servers", func(ctx context.Context) (err error) {
		pods, _, err = client.List[*corev1.Pod](ctx, u.api, client.Selection{Namespace: metav1.NamespaceSystem, Labels: "component=kube-apiserver,tier=control-plane"})
		return err
	})
	if err != nil {
		return nil, err
	}
	var late []string
	for _, p := range pods {
		if p.Spec.Containers[0].Image != u.Cluster.Image("kube-apiserver") {
			late = append(late, p.Name)
		}
	}
	slices.Sort(late)
	return late, nil
}

func (u *Upgrade) post(context.Context) error {
	what := "The configuration for this node was successfully updated!"
	if u.plane {
		what = fmt.Sprintf("A control plane node of your cluster was upgraded to %q.", u.Cluster.KubernetesVersion)
	}
	if !u.DryRun {
		u.say("upgrade/successful", "SUCCESS! %s", what)
	}
	u.say("upgrade", "Now please proceed with upgrading the kubelet of this node, and then the other nodes (`xebecadm upgrade node`), if you haven't already done so.")
	return nil
}

// missing is nil for a file that is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
