package kubeadm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/util/validation"
)

func newReader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

var tokenForm = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

// ValidToken says whether s has the form of a bootstrap token.
func ValidToken(s string) bool { return tokenForm.MatchString(s) }

// algorithms that keys are made for.
var algorithms = map[string]bool{"RSA-2048": true, "RSA-3072": true, "RSA-4096": true, "ECDSA-P256": true, "ECDSA-P384": true}

// unmountFlags are the names that ResetConfiguration has for umount2's flags.
var unmountFlags = map[string]int{"MNT_FORCE": syscall.MNT_FORCE, "MNT_DETACH": syscall.MNT_DETACH, "MNT_EXPIRE": syscall.MNT_EXPIRE, "UMOUNT_NOFOLLOW": unmountNoFollow}

// unmountNoFollow is missing in package syscall.
const unmountNoFollow = 0x8

// Flags are the flags of umount2 that are asked for.
func (c *ResetConfiguration) Flags() (int, error) {
	flags := 0
	for i, name := range c.UnmountFlags {
		bit, ok := unmountFlags[name]
		if !ok {
			return 0, fmt.Errorf("unmountFlags[%d]: %q: expected one of MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW", i, name)
		}
		flags |= bit
	}
	if flags&syscall.MNT_EXPIRE != 0 && flags&(syscall.MNT_FORCE|syscall.MNT_DETACH) != 0 {
		return 0, errors.New("unmountFlags: MNT_EXPIRE excludes MNT_FORCE and MNT_DETACH")
	}
	return flags, nil
}

// gates are kubeadm's, and what nodes are made like here: a gate that asked for
// something else would have no effect.
var gates = map[string]bool{"ControlPlaneKubeletLocalMode": true, "NodeLocalCRISocket": true, "WaitForAllControlPlaneComponents": true, "RootlessControlPlane": false}

// ParseGates reads A=true,B=false.
func ParseGates(list string) (map[string]bool, error) {
	if list == "" {
		return nil, nil
	}
	out := map[string]bool{}
	for one := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		on, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("invalid value %v for feature-gate key: %s, use true|false instead", value, name)
		}
		out[name] = on
	}
	return out, nil
}

// Validate says everything that is wrong with a defaulted configuration.
func (c *ClusterConfiguration) Validate() error {
	var errs []error
	bad := func(field string, value any, want string) {
		errs = append(errs, fmt.Errorf("%s: %q: expected %s", field, fmt.Sprint(value), want))
	}
	if !strings.HasPrefix(c.KubernetesVersion, "v1.37.") {
		bad("kubernetesVersion", c.KubernetesVersion, "v1.37.x, the level that this program installs")
	}
	services := subnets(c.Networking.ServiceSubnet, "networking.serviceSubnet", &errs)
	pods := subnets(c.Networking.PodSubnet, "networking.podSubnet", &errs)
	for _, s := range services {
		for _, p := range pods {
			if s.Overlaps(p) {
				bad("networking.podSubnet", p, "a range apart from networking.serviceSubnet "+s.String())
			}
		}
	}
	for _, p := range pods {
		if mask := c.nodeMask(p); p.Bits() > mask {
			bad("networking.podSubnet", p, fmt.Sprintf("a range of /%d or more, that each node has a /%d of (controllerManager.extraArgs: node-cidr-mask-size)", mask, mask))
		}
	}
	if msgs := validation.IsDNS1123Subdomain(c.Networking.DNSDomain); len(msgs) > 0 {
		bad("networking.dnsDomain", c.Networking.DNSDomain, strings.Join(msgs, "; "))
	}
	if !algorithms[c.EncryptionAlgorithm] {
		bad("encryptionAlgorithm", c.EncryptionAlgorithm, "RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384")
	}
	for _, gate := range slices.Sorted(maps.Keys(c.FeatureGates)) {
		want, known := gates[gate]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("featureGates: unrecognized feature-gate key: %s", gate))
		case c.FeatureGates[gate] != want:
			bad("featureGates."+gate, c.FeatureGates[gate], fmt.Sprintf("%v: nodes are always made like that here", want))
		}
	}
	if c.Etcd.Local != nil && c.Etcd.External != nil {
		errs = append(errs, errors.New("etcd: local and external exclude each other"))
	}
	if e := c.Etcd.External; e != nil && len(e.Endpoints) == 0 {
		bad("etcd.external.endpoints", "", "at least one endpoint")
	}
	for i, san := range c.APIServer.CertSANs {
		if net.ParseIP(san) == nil && len(validation.IsDNS1123Subdomain(strings.TrimPrefix(san, "*."))) > 0 {
			bad(fmt.Sprintf("apiServer.certSANs[%d]", i), san, "an IP address or a DNS name")
		}
	}
	return errors.Join(errs...)
}

// nodeMask is the length of the ranges that nodes are given of one of the pods'.
func (c *ClusterConfiguration) nodeMask(pods netip.Prefix) int {
	mask, names := 64, []string{"node-cidr-mask-size", "node-cidr-mask-size-ipv6"}
	if pods.Addr().Is4() {
		mask, names[1] = 24, "node-cidr-mask-size-ipv4"
	}
	for _, a := range c.ControllerManager.ExtraArgs {
		if n, err := strconv.Atoi(a.Value); err == nil && slices.Contains(names, a.Name) {
			mask = n
		}
	}
	return mask
}

func subnets(list, field string, errs *[]error) []netip.Prefix {
	var out []netip.Prefix
	if list == "" {
		return nil
	}
	for s := range strings.SplitSeq(list, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil || p != p.Masked() {
			*errs = append(*errs, fmt.Errorf("%s: %q: expected an address range such as 10.96.0.0/12", field, s))
			continue
		}
		out = append(out, p)
	}
	if len(out) > 2 || len(out) == 2 && out[0].Addr().Is4() == out[1].Addr().Is4() {
		*errs = append(*errs, fmt.Errorf("%s: %q: expected one range, or one of IPv4 and one of IPv6", field, list))
	}
	return out
}

func (n *NodeRegistration) validate() (errs []error) {
	if msgs := validation.IsDNS1123Subdomain(n.Name); len(msgs) > 0 {
		errs = append(errs, fmt.Errorf("nodeRegistration.name: %q: %s", n.Name, strings.Join(msgs, "; ")))
	}
	if err := pullPolicy("nodeRegistration.imagePullPolicy", string(n.ImagePullPolicy)); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func (e *APIEndpoint) validate(field string) (errs []error) {
	if a, err := netip.ParseAddr(e.AdvertiseAddress); err != nil || a.IsUnspecified() {
		errs = append(errs, fmt.Errorf("%s.advertiseAddress: %q: expected an address of this machine", field, e.AdvertiseAddress))
	}
	if e.BindPort < 1 || e.BindPort > 65535 {
		errs = append(errs, fmt.Errorf("%s.bindPort: %d: expected a port", field, e.BindPort))
	}
	return errs
}

// Validate says everything that is wrong with a defaulted configuration.
func (c *InitConfiguration) Validate() error {
	errs := append(c.NodeRegistration.validate(), c.LocalAPIEndpoint.validate("localAPIEndpoint")...)
	for i, t := range c.BootstrapTokens {
		if !ValidToken(t.Token) {
			errs = append(errs, fmt.Errorf("bootstrapTokens[%d].token: expected six characters, a dot and sixteen, of a-z and 0-9", i))
		}
	}
	if c.CertificateKey != "" && len(c.CertificateKey) != 64 {
		errs = append(errs, errors.New("certificateKey: expected 64 hexadecimal digits, as certs certificate-key makes"))
	}
	return errors.Join(errs...)
}

// Validate says everything that is wrong with a defaulted configuration.
func (c *JoinConfiguration) Validate() error {
	errs := c.NodeRegistration.validate()
	d := c.Discovery
	switch {
	case d.BootstrapToken != nil && d.File != nil:
		errs = append(errs, errors.New("discovery: bootstrapToken and file exclude each other"))
	case d.BootstrapToken != nil:
		t := d.BootstrapToken
		if !ValidToken(t.Token) {
			errs = append(errs, errors.New("discovery.bootstrapToken.token: expected six characters, a dot and sixteen, of a-z and 0-9"))
		}
		if _, _, err := net.SplitHostPort(t.APIServerEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("discovery.bootstrapToken.apiServerEndpoint: %q: expected HOST:PORT", t.APIServerEndpoint))
		}
		if len(t.CACertHashes) == 0 && !t.UnsafeSkipCAVerification {
			errs = append(errs, errors.New("discovery.bootstrapToken.caCertHashes: expected sha256:… of the cluster's authority (--discovery-token-ca-cert-hash), or unsafeSkipCAVerification"))
		}
		for _, h := range t.CACertHashes {
			if !strings.HasPrefix(h, "sha256:") || len(h) != len("sha256:")+64 {
				errs = append(errs, fmt.Errorf("discovery.bootstrapToken.caCertHashes: %q: expected sha256: and 64 hexadecimal digits", h))
			}
		}
	case d.File != nil:
		if d.File.KubeConfigPath == "" {
			errs = append(errs, errors.New("discovery.file.kubeConfigPath: expected a file or a URL"))
		}
	default:
		errs = append(errs, errors.New("discovery: expected bootstrapToken (--token and HOST:PORT) or file (--discovery-file)"))
	}
	if c.ControlPlane != nil {
		errs = append(errs, c.ControlPlane.LocalAPIEndpoint.validate("controlPlane.localAPIEndpoint")...)
	}
	return errors.Join(errs...)
}
