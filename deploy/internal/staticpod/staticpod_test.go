package staticpod

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
)

func node() *Node {
	return &Node{Name: "node1", Endpoint: kubeadm.APIEndpoint{AdvertiseAddress: "10.0.0.1", BindPort: 6443}, Root: "/",
		PullPolicy: corev1.PullIfNotPresent, HostCAs: []string{"/etc/ssl/certs", "/usr/share/ca-certificates"}}
}

func check(t *testing.T, dir string, c *kubeadm.ClusterConfiguration, n *Node) {
	t.Helper()
	for name, p := range Pods(c, n) {
		raw, err := Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, dir+"/"+name+".yaml", raw)
	}
}

func TestManifests(t *testing.T) {
	c := &kubeadm.ClusterConfiguration{Networking: kubeadm.Networking{PodSubnet: "10.244.0.0/16"}}
	c.Default()
	check(t, "default", c, node())
}

// TestManifestsOfANodeWithinAMachine: paths of the machine are below the
// node's root, paths within containers are kubeadm's.
func TestManifestsOfANodeWithinAMachine(t *testing.T) {
	c := &kubeadm.ClusterConfiguration{
		Etcd: kubeadm.Etcd{Local: &kubeadm.LocalEtcd{ExtraArgs: []kubeadm.Arg{{Name: "snapshot-count", Value: "5"}, {Name: "unsafe-no-fsync", Value: "true"}}}},
		APIServer: kubeadm.APIServer{Component: kubeadm.Component{
			ExtraArgs:    []kubeadm.Arg{{Name: "v", Value: "4"}, {Name: "authorization-mode", Value: "RBAC"}},
			ExtraVolumes: []kubeadm.HostPathMount{{Name: "audit", HostPath: "/var/log/audit", MountPath: "/audit", PathType: corev1.HostPathDirectoryOrCreate}},
			ExtraEnvs:    []corev1.EnvVar{{Name: "GOGC", Value: "50"}},
		}},
	}
	c.Default()
	n := node()
	n.Root, n.Members = "/run/n1", []string{"other=https://10.0.0.2:2380"}
	check(t, "within", c, n)
}

func TestExternalEtcd(t *testing.T) {
	c := &kubeadm.ClusterConfiguration{Etcd: kubeadm.Etcd{External: &kubeadm.ExternalEtcd{Endpoints: []string{"https://e1:2379", "https://e2:2379"}, CAFile: "/ca", CertFile: "/crt", KeyFile: "/key"}}}
	c.Default()
	pods := Pods(c, node())
	if _, there := pods["etcd"]; there {
		t.Error("etcd is run though it is another's")
	}
	for _, want := range []string{"--etcd-servers=https://e1:2379,https://e2:2379", "--etcd-cafile=/ca", "--etcd-certfile=/crt", "--etcd-keyfile=/key"} {
		if !slices.Contains(pods["kube-apiserver"].Spec.Containers[0].Command, want) {
			t.Errorf("the API server is started without %s", want)
		}
	}
	// The files are where the component finds them: its own certificates are mounted anyway.
	c.Etcd.External.CAFile, c.Etcd.External.CertFile, c.Etcd.External.KeyFile = "/etc/kubernetes/pki/etcd/ca.crt", "/etc/etcd/c/client.crt", "/etc/etcd/c/client.key"
	var mounted []string
	for _, m := range Pods(c, node())["kube-apiserver"].Spec.Containers[0].VolumeMounts {
		mounted = append(mounted, m.Name+"="+m.MountPath)
	}
	if !slices.Contains(mounted, "etcd-certs-0=/etc/etcd/c") || slices.ContainsFunc(mounted, func(m string) bool { return strings.HasPrefix(m, "etcd-certs-1") }) {
		t.Errorf("mounted are %v", mounted)
	}
}

// TestWhatIsAskedForIsInPlaceOfDefaults: a volume of a name that is taken, and
// the time that a start may take.
func TestWhatIsAskedForIsInPlaceOfDefaults(t *testing.T) {
	c := &kubeadm.ClusterConfiguration{}
	c.Scheduler.ExtraVolumes = []kubeadm.HostPathMount{{Name: "kubeconfig", HostPath: "/mine", MountPath: "/mine"}, {Name: "more", HostPath: "/more", MountPath: "/m"}}
	c.Default()
	n := node()
	n.StartLimit, n.ExternalCA = 10*time.Minute, true
	pods := Pods(c, n)
	s := pods["kube-scheduler"].Spec
	if len(s.Volumes) != 2 || s.Volumes[0].HostPath.Path != "/mine" || s.Containers[0].VolumeMounts[0].ReadOnly || len(s.Containers[0].VolumeMounts) != 2 {
		t.Errorf("volumes %+v", s.Volumes)
	}
	if got := s.Containers[0].StartupProbe.FailureThreshold; got != 600 {
		t.Errorf("a start may fail %d times", got)
	}
	// Without the authority's key nobody can sign.
	for _, want := range []string{"--cluster-signing-cert-file=", "--cluster-signing-key-file="} {
		if !slices.Contains(pods["kube-controller-manager"].Spec.Containers[0].Command, want) {
			t.Errorf("the controller manager is started without %s", want)
		}
	}
}

func TestCommandKeepsRepeatedFlags(t *testing.T) {
	got := Command("x", args("b", "1", "a", "2"), []kubeadm.Arg{{Name: "b", Value: "3"}, {Name: "b", Value: "4"}})
	if want := []string{"x", "--a=2", "--b=3", "--b=4"}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}
