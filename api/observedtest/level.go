package observedtest

import "k8s.io/apimachinery/pkg/runtime/schema"

// Since137 reports whether a resource is one that v1.37 serves by default and
// v1.36, which was recorded, does not.
func Since137(gv schema.GroupVersion, resource string) bool {
	if gv.Version != "v1" {
		return false
	}
	switch resource {
	case "clustertrustbundles", "podcertificaterequests", "devicetaintrules", "storageversionmigrations":
		return true
	}
	return false
}
