package manager

import (
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/daemonset"
	"xebec.dev/controller-manager/internal/deployment"
	"xebec.dev/controller-manager/internal/endpoints"
	"xebec.dev/controller-manager/internal/endpointslice"
	"xebec.dev/controller-manager/internal/gc"
	"xebec.dev/controller-manager/internal/job"
	"xebec.dev/controller-manager/internal/namespace"
	"xebec.dev/controller-manager/internal/replicaset"
	"xebec.dev/controller-manager/internal/rootca"
	"xebec.dev/controller-manager/internal/satoken"
	"xebec.dev/controller-manager/internal/serviceaccount"
	"xebec.dev/controller-manager/internal/statefulset"
)

// Table is every controller of this program.
func Table() []control.Spec {
	return []control.Spec{
		satoken.Spec,
		serviceaccount.Spec,
		rootca.Spec,
		namespace.Spec,
		gc.Spec,
		replicaset.Spec,
		replicaset.ReplicationControllerSpec,
		deployment.Spec,
		statefulset.Spec,
		daemonset.Spec,
		job.Spec,
		endpointslice.Spec,
		endpoints.Spec,
	}
}
