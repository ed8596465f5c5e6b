// Package staticpod makes the manifests of a control plane node: a pure
// function of the cluster's configuration and the node's.
package staticpod

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

// Node is what the manifests need to know of the node.
type Node struct {
	Name       string
	Endpoint   kubeadm.APIEndpoint
	Root       layout.Root
	PullPolicy corev1.PullPolicy
	// Members of etcd beside this node, as NAME=URL; with some the node joins
	// a cluster that is there.
	Members []string
	// HostCAs are directories with the host's certificate authorities.
	HostCAs []string
	// StartLimit is how long a component may take to start; 0 is four minutes.
	StartLimit time.Duration
	// ExternalCA says that the authority's key is not on this node: nobody signs here.
	ExternalCA bool
}

// Pods are the manifests by file name.
func Pods(c *kubeadm.ClusterConfiguration, n *Node) map[string]*corev1.Pod {
	pods := map[string]*corev1.Pod{
		"kube-apiserver":          apiServer(c, n),
		"kube-controller-manager": controllerManager(c, n),
		"kube-scheduler":          scheduler(c, n),
	}
	if c.Etcd.Local != nil {
		pods["etcd"] = etcd(c, n)
	}
	return pods
}

// Marshal is a manifest's text.
func Marshal(p *corev1.Pod) ([]byte, error) { return yaml.Marshal(p) }

// Command is a component's command line: defaults, replaced by what was
// given, in the order of their names. A name that was given twice stays twice.
func Command(binary string, defaults, extra []kubeadm.Arg) []string {
	args := slices.Clone(extra)
	for _, d := range defaults {
		if !slices.ContainsFunc(extra, func(a kubeadm.Arg) bool { return a.Name == d.Name }) {
			args = append(args, d)
		}
	}
	slices.SortStableFunc(args, func(a, b kubeadm.Arg) int { return cmp.Compare(a.Name, b.Name) })
	out := []string{binary}
	for _, a := range args {
		out = append(out, "--"+a.Name+"="+a.Value)
	}
	return out
}

// component is what the pods have in common.
type component struct {
	name, image string
	command     []string
	cpu, memory string
	envs        []corev1.EnvVar
	// probes
	scheme              corev1.URIScheme
	host                string
	port                int32
	livePath, readyPath string
	startPath           string
	mounts              []kubeadm.HostPathMount
	annotations         map[string]string
}

func (c *component) pod(n *Node) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: c.name, Namespace: "kube-system", Annotations: c.annotations,
			Labels: map[string]string{"component": c.name, "tier": "control-plane"}},
	}
	ctr := corev1.Container{
		Name: c.name, Image: c.image, Command: c.command, Env: c.envs, ImagePullPolicy: n.PullPolicy,
		Ports:     []corev1.ContainerPort{{Name: "probe-port", ContainerPort: c.port, HostPort: c.port, Protocol: corev1.ProtocolTCP}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(c.cpu)}},
		// A start is looked at every second.
		StartupProbe: c.probe(c.startPath, 1, int32(cmp.Or(n.StartLimit, 4*time.Minute)/time.Second)),
		// As patient as kubeadm's, 80 s, and half as often.
		LivenessProbe: c.probe(c.livePath, 20, 4),
		// A TLS handshake for each component and second would be most of what
		// an idle control plane does; nothing routes by this readiness.
		ReadinessProbe: c.probe(c.readyPath, 20, 2),
	}
	if c.memory != "" {
		ctr.Resources.Requests[corev1.ResourceMemory] = resource.MustParse(c.memory)
	}
	for _, m := range named(c.mounts) {
		ctr.VolumeMounts = append(ctr.VolumeMounts, corev1.VolumeMount{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly})
		v := corev1.Volume{Name: m.Name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: m.HostPath}}}
		if m.PathType != "" {
			t := m.PathType
			v.HostPath.Type = &t
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	p.Spec.Containers = []corev1.Container{ctr}
	p.Spec.HostNetwork = true
	p.Spec.PriorityClassName = "system-node-critical"
	priority := int32(2000001000)
	p.Spec.Priority = &priority
	p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	return p
}

// named are the mounts by their names: a later one, which was asked for, is in
// place of an earlier one.
func named(mounts []kubeadm.HostPathMount) []kubeadm.HostPathMount {
	var out []kubeadm.HostPathMount
	for _, m := range mounts {
		if at := slices.IndexFunc(out, func(o kubeadm.HostPathMount) bool { return o.Name == m.Name }); at >= 0 {
			out[at] = m
		} else {
			out = append(out, m)
		}
	}
	return out
}

func (c *component) probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: c.host, Path: path,
			Port: intstr.FromString("probe-port"), Scheme: c.scheme}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 15,
	}
}

// certs are the mounts of components that read certificates.
func certs(c *kubeadm.ClusterConfiguration, n *Node) []kubeadm.HostPathMount {
	mounts := []kubeadm.HostPathMount{{Name: "k8s-certs", HostPath: n.Root.Path(c.CertificatesDir), MountPath: c.CertificatesDir,
		ReadOnly: true, PathType: corev1.HostPathDirectoryOrCreate}}
	for _, dir := range n.HostCAs {
		name := "ca-certs"
		if dir != "/etc/ssl/certs" {
			name = strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")
		}
		mounts = append(mounts, kubeadm.HostPathMount{Name: name, HostPath: dir, MountPath: dir, ReadOnly: true, PathType: corev1.HostPathDirectory})
	}
	return mounts
}

// etcdCerts are the directories of the files by which somebody else's etcd is
// spoken to, where they are not below that of the cluster's certificates.
func etcdCerts(c *kubeadm.ClusterConfiguration) []kubeadm.HostPathMount {
	var out []kubeadm.HostPathMount
	e := c.Etcd.External
	if e == nil {
		return nil
	}
	for _, f := range []string{e.CAFile, e.CertFile, e.KeyFile} {
		dir := path.Dir(f)
		if f == "" || dir == c.CertificatesDir || strings.HasPrefix(dir, c.CertificatesDir+"/") ||
			slices.ContainsFunc(out, func(m kubeadm.HostPathMount) bool { return m.MountPath == dir }) {
			continue
		}
		out = append(out, kubeadm.HostPathMount{Name: fmt.Sprintf("etcd-certs-%d", len(out)), HostPath: dir, MountPath: dir,
			ReadOnly: true, PathType: corev1.HostPathDirectoryOrCreate})
	}
	return out
}

func file(n *Node, name, path string) kubeadm.HostPathMount {
	return kubeadm.HostPathMount{Name: name, HostPath: n.Root.Path(path), MountPath: path, ReadOnly: true, PathType: corev1.HostPathFileOrCreate}
}

func args(pairs ...string) []kubeadm.Arg {
	out := make([]kubeadm.Arg, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, kubeadm.Arg{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func etcd(c *kubeadm.ClusterConfiguration, n *Node) *corev1.Pod {
	l := c.Etcd.Local
	host := n.Endpoint.AdvertiseAddress
	client, peer := "https://"+net.JoinHostPort(host, "2379"), "https://"+net.JoinHostPort(host, "2380")
	dir := c.CertificatesDir + "/etcd"
	state := "new"
	if len(n.Members) > 0 {
		state = "existing"
	}
	members := append(slices.Clone(n.Members), n.Name+"="+peer)
	slices.Sort(members)
	k := &component{
		name: "etcd", image: c.Image("etcd"), cpu: "100m", memory: "100Mi", envs: l.ExtraEnvs,
		scheme: corev1.URISchemeHTTP, host: "127.0.0.1", port: 2381, livePath: "/livez", readyPath: "/readyz", startPath: "/readyz",
		annotations: map[string]string{"kubeadm.kubernetes.io/etcd.advertise-client-urls": client},
		mounts: []kubeadm.HostPathMount{
			{Name: "etcd-data", HostPath: n.Root.Path(l.DataDir), MountPath: l.DataDir, PathType: corev1.HostPathDirectoryOrCreate},
			{Name: "etcd-certs", HostPath: n.Root.Path(dir), MountPath: dir, ReadOnly: true, PathType: corev1.HostPathDirectoryOrCreate},
		},
		command: Command("etcd", args(
			"name", n.Name, "data-dir", l.DataDir, "snapshot-count", "10000",
			"listen-client-urls", "https://127.0.0.1:2379,"+client, "advertise-client-urls", client,
			"listen-peer-urls", peer, "initial-advertise-peer-urls", peer,
			"initial-cluster", strings.Join(members, ","), "initial-cluster-state", state,
			"listen-metrics-urls", "http://127.0.0.1:2381",
			"client-cert-auth", "true", "peer-client-cert-auth", "true",
			"cert-file", dir+"/server.crt", "key-file", dir+"/server.key", "trusted-ca-file", dir+"/ca.crt",
			"peer-cert-file", dir+"/peer.crt", "peer-key-file", dir+"/peer.key", "peer-trusted-ca-file", dir+"/ca.crt",
			"feature-gates", "InitialCorruptCheck=true", "watch-progress-notify-interval", "5s",
			// A third of the ticks: they are most of what an idle etcd does. A
			// new leader is there after 1.5 to 3 s instead of 1 to 2.
			"heartbeat-interval", "300", "election-timeout", "1500",
		), l.ExtraArgs),
	}
	return k.pod(n)
}

func apiServer(c *kubeadm.ClusterConfiguration, n *Node) *corev1.Pod {
	dir := c.CertificatesDir
	defaults := args(
		"advertise-address", n.Endpoint.AdvertiseAddress, "secure-port", fmt.Sprint(n.Endpoint.BindPort),
		"allow-privileged", "true", "authorization-mode", "Node,RBAC",
		"enable-admission-plugins", "NodeRestriction", "enable-bootstrap-token-auth", "true",
		"client-ca-file", dir+"/ca.crt", "tls-cert-file", dir+"/apiserver.crt", "tls-private-key-file", dir+"/apiserver.key",
		"kubelet-client-certificate", dir+"/apiserver-kubelet-client.crt", "kubelet-client-key", dir+"/apiserver-kubelet-client.key",
		"kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname",
		"proxy-client-cert-file", dir+"/front-proxy-client.crt", "proxy-client-key-file", dir+"/front-proxy-client.key",
		"requestheader-client-ca-file", dir+"/front-proxy-ca.crt", "requestheader-allowed-names", "front-proxy-client",
		"requestheader-username-headers", "X-Remote-User", "requestheader-group-headers", "X-Remote-Group",
		"requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"service-account-issuer", "https://kubernetes.default.svc."+c.Networking.DNSDomain,
		"service-account-key-file", dir+"/sa.pub", "service-account-signing-key-file", dir+"/sa.key",
		"service-cluster-ip-range", c.Networking.ServiceSubnet,
	)
	if e := c.Etcd.External; e != nil {
		defaults = append(defaults, args("etcd-servers", strings.Join(e.Endpoints, ","))...)
		for name, v := range map[string]string{"etcd-cafile": e.CAFile, "etcd-certfile": e.CertFile, "etcd-keyfile": e.KeyFile} {
			if v != "" {
				defaults = append(defaults, kubeadm.Arg{Name: name, Value: v})
			}
		}
	} else {
		defaults = append(defaults, args("etcd-servers", "https://127.0.0.1:2379", "etcd-cafile", dir+"/etcd/ca.crt",
			"etcd-certfile", dir+"/apiserver-etcd-client.crt", "etcd-keyfile", dir+"/apiserver-etcd-client.key")...)
	}
	k := &component{
		name: "kube-apiserver", image: c.Image("kube-apiserver"), cpu: "250m", envs: c.APIServer.ExtraEnvs,
		scheme: corev1.URISchemeHTTPS, host: n.Endpoint.AdvertiseAddress, port: n.Endpoint.BindPort,
		livePath: "/livez", readyPath: "/readyz", startPath: "/livez",
		annotations: map[string]string{"kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint": net.JoinHostPort(n.Endpoint.AdvertiseAddress, fmt.Sprint(n.Endpoint.BindPort))},
		mounts:      slices.Concat(certs(c, n), etcdCerts(c), c.APIServer.ExtraVolumes),
		command:     Command("kube-apiserver", defaults, c.APIServer.ExtraArgs),
	}
	return k.pod(n)
}

func controllerManager(c *kubeadm.ClusterConfiguration, n *Node) *corev1.Pod {
	dir, conf := c.CertificatesDir, layout.ControllerManagerConf
	cert, key := dir+"/ca.crt", dir+"/ca.key"
	if n.ExternalCA {
		cert, key = "", "" // requests wait for whoever has the key
	}
	defaults := args(
		"bind-address", "127.0.0.1", "leader-elect", "true", "kubeconfig", conf,
		"authentication-kubeconfig", conf, "authorization-kubeconfig", conf,
		"client-ca-file", dir+"/ca.crt", "requestheader-client-ca-file", dir+"/front-proxy-ca.crt", "root-ca-file", dir+"/ca.crt",
		"service-account-private-key-file", dir+"/sa.key",
		"cluster-signing-cert-file", cert, "cluster-signing-key-file", key,
		"use-service-account-credentials", "true", "controllers", "*,bootstrapsigner,tokencleaner",
		"service-cluster-ip-range", c.Networking.ServiceSubnet, "cluster-name", c.ClusterName,
	)
	if c.Networking.PodSubnet != "" {
		defaults = append(defaults, args("allocate-node-cidrs", "true", "cluster-cidr", c.Networking.PodSubnet)...)
	}
	k := &component{
		name: "kube-controller-manager", image: c.Image("kube-controller-manager"), cpu: "200m", envs: c.ControllerManager.ExtraEnvs,
		scheme: corev1.URISchemeHTTPS, host: "127.0.0.1", port: 10257, livePath: "/healthz", readyPath: "/healthz", startPath: "/healthz",
		mounts:  slices.Concat(certs(c, n), []kubeadm.HostPathMount{file(n, "kubeconfig", conf)}, c.ControllerManager.ExtraVolumes),
		command: Command("kube-controller-manager", defaults, c.ControllerManager.ExtraArgs),
	}
	return k.pod(n)
}

func scheduler(c *kubeadm.ClusterConfiguration, n *Node) *corev1.Pod {
	conf := layout.SchedulerConf
	k := &component{
		name: "kube-scheduler", image: c.Image("kube-scheduler"), cpu: "100m", envs: c.Scheduler.ExtraEnvs,
		scheme: corev1.URISchemeHTTPS, host: "127.0.0.1", port: 10259, livePath: "/livez", readyPath: "/readyz", startPath: "/livez",
		mounts: slices.Concat([]kubeadm.HostPathMount{file(n, "kubeconfig", conf)}, c.Scheduler.ExtraVolumes),
		command: Command("kube-scheduler", args("bind-address", "127.0.0.1", "leader-elect", "true", "kubeconfig", conf,
			"authentication-kubeconfig", conf, "authorization-kubeconfig", conf), c.Scheduler.ExtraArgs),
	}
	return k.pod(n)
}
