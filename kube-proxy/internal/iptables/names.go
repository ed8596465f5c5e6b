package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of chains, which people and other programs know from Kubernetes.
const (
	services    = "KUBE-SERVICES"          // nat: frontends; filter: those without endpoints
	external    = "KUBE-EXTERNAL-SERVICES" // filter: likewise, reached from outside
	nodePorts   = "KUBE-NODEPORTS"         // nat: node ports; filter: health check ports
	postrouting = "KUBE-POSTROUTING"
	markMasq    = "KUBE-MARK-MASQ"
	forward     = "KUBE-FORWARD"
	firewall    = "KUBE-PROXY-FIREWALL" // load balancers' source ranges
	localnet    = "KUBE-FIREWALL"       // packets from elsewhere to loopback addresses
	canary      = "KUBE-PROXY-CANARY"   // goes when somebody flushes all
	// markOff marks what comes from none of several networks of pods.
	markOff = "KUBE-MARK-MASQ-OFF"
)

// Prefixes of a service port's chains.
const (
	prefixCluster  = "KUBE-SVC-" // all endpoints
	prefixLocal    = "KUBE-SVL-" // endpoints of policy Local
	prefixExternal = "KUBE-EXT-" // what comes to external addresses and node ports
	prefixFirewall = "KUBE-FW-"  // a load balancer's source ranges
	prefixEndpoint = "KUBE-SEP-" // one endpoint
)

var prefixes = []string{prefixCluster, prefixLocal, prefixExternal, prefixFirewall, prefixEndpoint}

// Tables.
const (
	nat    = "nat"
	filter = "filter"
	mangle = "mangle"
)

var protocols = map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}

// portName names a service's port: namespace/name:port, or without a port
// that has no name.
func portName(service, port string) string {
	if port == "" {
		return service
	}
	return service + ":" + port
}

// hashed is the end of a chain's name: a chain's has 28 characters at most.
func hashed(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "")))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}

// ofService tells whether a chain is one of a service's.
func ofService(chain string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(chain, p) {
			return true
		}
	}
	return false
}
