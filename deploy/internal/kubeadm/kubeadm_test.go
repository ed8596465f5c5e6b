package kubeadm

import (
	"strings"
	"testing"
	"time"

	"xebec.dev/deploy/internal/golden"
)

const head = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: "

func TestDecodeIsStrict(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"unknown field":        {head + "ClusterConfiguration\nnetworkin: {}\n", `unknown field "networkin"`},
		"unknown deep field":   {head + "ClusterConfiguration\nnetworking:\n  podSubnett: a\n", `unknown field "networking.podSubnett"`},
		"twice":                {head + "InitConfiguration\ncertificateKey: a\ncertificateKey: b\n", `already set in map`},
		"wrong type":           {head + "InitConfiguration\nlocalAPIEndpoint:\n  bindPort: x\n", "bindPort"},
		"old version":          {"apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n", `apiVersion "kubeadm.k8s.io/v1beta3": expected kubeadm.k8s.io/v1beta4`},
		"extraArgs of v1beta3": {head + "ClusterConfiguration\napiServer:\n  extraArgs:\n    v: \"4\"\n", "extraArgs"},
		"unknown kind":         {head + "ClusterConfig\n", `kind "ClusterConfig"`},
		"two of a kind":        {head + "InitConfiguration\n---\n" + head + "InitConfiguration\n", "two documents of kind InitConfiguration"},
		"nothing":              {"# nothing\n---\n", "no documents"},
		"no YAML":              {"a: b: c\n", "mapping values"},
	} {
		_, err := Decode([]byte(c.doc))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q in it", name, err, c.want)
		}
	}
}

func TestDecodeDocuments(t *testing.T) {
	f, err := Decode([]byte(head + `ClusterConfiguration
networking:
  podSubnet: 10.1.0.0/16
apiServer:
  certSANs: [a.example]
  extraArgs:
  - name: v
    value: "4"
  - name: v
    value: "5"
---
` + head + `InitConfiguration
nodeRegistration:
  taints: []
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 20
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
`))
	if err != nil {
		t.Fatal(err)
	}
	f.Init.Default("HOST", "192.0.2.7")
	switch {
	case f.Cluster.Networking.PodSubnet != "10.1.0.0/16", len(f.Cluster.APIServer.ExtraArgs) != 2, f.Cluster.APIServer.CertSANs[0] != "a.example":
		t.Errorf("cluster: %+v", f.Cluster)
	case f.Init.NodeRegistration.Taints == nil || len(f.Init.NodeRegistration.Taints) != 0:
		t.Errorf("an empty list of taints became %v: it means none", f.Init.NodeRegistration.Taints)
	case f.Init.NodeRegistration.Name != "host", f.Init.LocalAPIEndpoint.AdvertiseAddress != "192.0.2.7", f.Init.LocalAPIEndpoint.BindPort != 6443:
		t.Errorf("init: %+v", f.Init)
	case f.Kubelet["maxPods"] != int64(20), f.Proxy["mode"] != "ipvs":
		t.Errorf("component configurations: %v %v", f.Kubelet, f.Proxy)
	}
}

func TestDefaults(t *testing.T) {
	i, c, j := &InitConfiguration{}, &ClusterConfiguration{}, &JoinConfiguration{}
	i.Default("node", "1.2.3.4")
	c.Default()
	j.Discovery.BootstrapToken = &TokenDiscovery{Token: "abcdef.0123456789abcdef", APIServerEndpoint: "1.2.3.4:6443", UnsafeSkipCAVerification: true}
	j.Default("node", "1.2.3.4")
	for _, err := range []error{i.Validate(), c.Validate(), j.Validate()} {
		if err != nil {
			t.Errorf("defaults are not valid: %v", err)
		}
	}
	raw, err := Print(i, c, j)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "defaults.yaml", raw)
	f, err := Decode(raw)
	if err != nil || f.Init == nil || f.Cluster == nil || f.Join == nil {
		t.Errorf("what is printed is not read: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ClusterConfiguration)
		want   string
	}{
		"version":       {func(c *ClusterConfiguration) { c.KubernetesVersion = "v1.36.0" }, "kubernetesVersion"},
		"subnet":        {func(c *ClusterConfiguration) { c.Networking.ServiceSubnet = "10.96.0.1/12" }, "networking.serviceSubnet"},
		"overlap":       {func(c *ClusterConfiguration) { c.Networking.PodSubnet = "10.100.0.0/16" }, "networking.podSubnet"},
		"two of IPv4":   {func(c *ClusterConfiguration) { c.Networking.PodSubnet = "10.1.0.0/16,10.2.0.0/16" }, "one of IPv4 and one of IPv6"},
		"too small":     {func(c *ClusterConfiguration) { c.Networking.PodSubnet = "10.244.0.0/26" }, "a range of /24 or more"},
		"small of IPv6": {func(c *ClusterConfiguration) { c.Networking.PodSubnet = "fd00:1::/80" }, "a range of /64 or more"},
		"domain":        {func(c *ClusterConfiguration) { c.Networking.DNSDomain = "Bad_" }, "networking.dnsDomain"},
		"algorithm":     {func(c *ClusterConfiguration) { c.EncryptionAlgorithm = "DSA" }, "encryptionAlgorithm"},
		"SAN":           {func(c *ClusterConfiguration) { c.APIServer.CertSANs = []string{"a b"} }, "apiServer.certSANs[0]"},
		"two etcds":     {func(c *ClusterConfiguration) { c.Etcd.External = &ExternalEtcd{Endpoints: []string{"a"}} }, "exclude each other"},
	} {
		cfg := &ClusterConfiguration{}
		cfg.Default()
		c.change(cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q in it", name, err, c.want)
		}
	}
	dual := &ClusterConfiguration{Networking: Networking{PodSubnet: "10.1.0.0/16,fd00:1::/48", ServiceSubnet: "10.96.0.0/16,fd00:2::/112"}}
	dual.Default()
	if err := dual.Validate(); err != nil {
		t.Errorf("dual stack: %v", err)
	}
	small := &ClusterConfiguration{Networking: Networking{PodSubnet: "10.1.0.0/26"}}
	small.ControllerManager.ExtraArgs = []Arg{{Name: "node-cidr-mask-size", Value: "28"}}
	small.Default()
	if err := small.Validate(); err != nil {
		t.Errorf("small ranges of small nodes: %v", err)
	}
}

func TestJoinNeedsTrust(t *testing.T) {
	j := &JoinConfiguration{}
	j.Default("node", "")
	if err := j.Validate(); err == nil || !strings.Contains(err.Error(), "discovery") {
		t.Errorf("no discovery: %v", err)
	}
	j.Discovery.BootstrapToken = &TokenDiscovery{Token: "abcdef.0123456789abcdef", APIServerEndpoint: "a:6443"}
	if err := j.Validate(); err == nil || !strings.Contains(err.Error(), "caCertHashes") {
		t.Errorf("no hash of the authority: %v", err)
	}
	j.Discovery.BootstrapToken.CACertHashes = []string{"sha256:12"}
	if err := j.Validate(); err == nil || !strings.Contains(err.Error(), "64 hexadecimal") {
		t.Errorf("a short hash: %v", err)
	}
}

func TestTokenDefaults(t *testing.T) {
	b := BootstrapToken{}
	b.Default()
	if b.TTL.Duration != 24*time.Hour || len(b.Usages) != 2 || b.Groups[0] != NodeTokenGroup {
		t.Errorf("%+v", b)
	}
	for s, want := range map[string]bool{"abcdef.0123456789abcdef": true, "abcdef.0123456789abcde": false, "ABCDEF.0123456789abcdef": false, "abcdef0123456789abcdef": false} {
		if ValidToken(s) != want {
			t.Errorf("token %q is valid: %t", s, !want)
		}
	}
}

func TestImages(t *testing.T) {
	c := &ClusterConfiguration{ImageRepository: "10.0.0.5:5000/team", DNS: DNS{ImageMeta: ImageMeta{ImageTag: "v9"}}}
	c.Default()
	golden.Check(t, "images.txt", []byte(strings.Join(c.Images(), "\n")+"\n"))
	if got := c.Endpoint(APIEndpoint{AdvertiseAddress: "fd00::1", BindPort: 6443}); got != "[fd00::1]:6443" {
		t.Errorf("endpoint %s", got)
	}
	c.ControlPlaneEndpoint = "lb.example"
	if got := c.Endpoint(APIEndpoint{AdvertiseAddress: "1.2.3.4", BindPort: 7443}); got != "lb.example:7443" {
		t.Errorf("endpoint %s", got)
	}
}

// TestFeatureGates: one that would have no effect is refused.
func TestFeatureGates(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "NodeLocalCRISocket=true, ControlPlaneKubeletLocalMode=true": "", "RootlessControlPlane=false": "",
		"Nothing=true":                  "unrecognized feature-gate key: Nothing",
		"RootlessControlPlane=true":     "featureGates.RootlessControlPlane",
		"NodeLocalCRISocket":            "use true|false instead",
		"NodeLocalCRISocket=perhaps,A=": "use true|false instead",
	} {
		c := &ClusterConfiguration{}
		gates, err := ParseGates(list)
		if err == nil {
			c.FeatureGates = gates
			c.Default()
			err = c.Validate()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", list, err, want)
		}
	}
}

func TestUnmountFlags(t *testing.T) {
	for _, c := range []struct {
		names []string
		flags int
		err   string
	}{{nil, 0, ""}, {[]string{"MNT_FORCE", "MNT_DETACH"}, 3, ""}, {[]string{"UMOUNT_NOFOLLOW", "MNT_EXPIRE"}, 12, ""},
		{[]string{"MNT_DETACH", "x"}, 0, "unmountFlags[1]"}, {[]string{"MNT_EXPIRE", "MNT_FORCE"}, 0, "excludes"}} {
		got, err := (&ResetConfiguration{UnmountFlags: c.names}).Flags()
		if got != c.flags || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %d, %v", c.names, got, err)
		}
	}
}

// TestMigrated: what is written is what init, or join, reads.
func TestMigrated(t *testing.T) {
	var b strings.Builder
	for _, doc := range []string{
		head + "ClusterConfiguration\ncontrolPlaneEndpoint: lb:6443\n---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 20\n",
		head + "JoinConfiguration\ndiscovery: {file: {kubeConfigPath: /x}, tlsBootstrapToken: abcdef.0123456789abcdef}\n",
		head + "ResetConfiguration\nforce: true\n---\n" + head + "UpgradeConfiguration\ndiff: {contextLines: 7}\nplan: {etcdUpgrade: false, allowRCUpgrades: true}\napply: {forceUpgrade: true, printConfig: true, allowExperimentalUpgrades: true}\n",
	} {
		f, err := Decode([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := f.Migrated("node", "1.2.3.4")
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(raw)
		if err != nil {
			t.Fatalf("what is written is not read: %v", err)
		}
		if twice, err := again.Migrated("other", "5.6.7.8"); err != nil || string(twice) != string(raw) {
			t.Errorf("a second time changes it: %v\n%s", err, twice)
		}
		b.WriteString("# ----\n" + string(raw))
	}
	golden.Check(t, "migrated.yaml", []byte(b.String()))
	for doc, want := range map[string]string{
		head + "InitConfiguration\n---\n" + head + "JoinConfiguration\n":                          "exclude each other",
		head + "InitConfiguration\nnodeRegistration: {imagePullPolicy: Sometimes}\n":              "nodeRegistration.imagePullPolicy",
		head + "UpgradeConfiguration\nnode: {imagePullPolicy: x}\n":                               "node.imagePullPolicy",
		head + "UpgradeConfiguration\ndiff: {contextLines: -1}\n":                                 "diff.contextLines",
		head + "ResetConfiguration\nunmountFlags: [x]\n":                                          "unmountFlags[0]",
		head + "InitConfiguration\nnodeRegistration: {kubeletExtraArgs: [{name: v, value: 4}]}\n": "value",
	} {
		f, err := Decode([]byte(doc))
		if err == nil {
			_, err = f.Migrated("node", "1.2.3.4")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", doc, err, want)
		}
	}
}
