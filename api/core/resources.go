// Package core has the resources of the API group core (""): names, defaults, validation,
// columns and update rules.
package core

import "xebec.dev/api/scheme"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		bindingResource(),
		componentStatusResource(),
		configMapResource(),
		endpointsResource(),
		eventResource(),
		limitRangeResource(),
		namespaceResource(),
		nodeResource(),
		persistentVolumeClaimResource(),
		persistentVolumeResource(),
		podResource(),
		podTemplateResource(),
		replicationControllerResource(),
		resourceQuotaResource(),
		secretResource(),
		serviceAccountResource(),
		serviceResource(),
	}
}
