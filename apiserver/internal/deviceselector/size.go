package deviceselector

import (
	"github.com/google/cel-go/checker"
	resourcev1 "k8s.io/api/resource/v1"
)

// sizes tells how large the parts of a device can be, by the limits of the
// API.
type sizes struct{}

// EstimateSize follows the node's path: device, a field, a domain, a name.
func (sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	path := node.Path()
	if len(path) < 2 || path[0] != "device" {
		return nil
	}
	if path[1] == "driver" {
		return upTo(resourcev1.DriverNameMaxLength)
	}
	if path[1] != "attributes" && path[1] != "capacity" {
		return nil
	}
	last := path[len(path)-1]
	switch {
	case len(path) == 3 && last == "@keys":
		return upTo(resourcev1.DeviceMaxDomainLength)
	case len(path) == 4 && last == "@keys":
		return upTo(resourcev1.DeviceMaxIDLength)
	case len(path) <= 3:
		return upTo(resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)
	}
	return upTo(resourcev1.DeviceAttributeMaxValueLength)
}

// EstimateCallCost leaves calls to the library.
func (sizes) EstimateCallCost(_, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	return nil
}

func upTo(n uint64) *checker.SizeEstimate { return &checker.SizeEstimate{Min: 0, Max: n} }
