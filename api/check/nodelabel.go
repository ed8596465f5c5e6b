package check

// deprecatedNodeLabels are labels of nodes that have a successor, since when,
// and which.
var deprecatedNodeLabels = map[string][2]string{
	"beta.kubernetes.io/arch":                  {"v1.14", "kubernetes.io/arch"},
	"beta.kubernetes.io/os":                    {"v1.14", "kubernetes.io/os"},
	"beta.kubernetes.io/instance-type":         {"v1.17", "node.kubernetes.io/instance-type"},
	"failure-domain.beta.kubernetes.io/zone":   {"v1.17", "topology.kubernetes.io/zone"},
	"failure-domain.beta.kubernetes.io/region": {"v1.17", "topology.kubernetes.io/region"},
}

// DeprecatedNodeLabel is the warning about selecting nodes by the label; "" is
// none.
func DeprecatedNodeLabel(label string) string {
	d, ok := deprecatedNodeLabels[label]
	if !ok {
		return ""
	}
	return label + " is deprecated since " + d[0] + `; use "` + d[1] + `" instead`
}
