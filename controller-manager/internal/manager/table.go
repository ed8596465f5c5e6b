package manager

import (
	"xebec.dev/controller-manager/internal/bootstrapsigner"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/cronjob"
	"xebec.dev/controller-manager/internal/csrapproving"
	"xebec.dev/controller-manager/internal/csrcleaner"
	"xebec.dev/controller-manager/internal/csrsigning"
	"xebec.dev/controller-manager/internal/daemonset"
	"xebec.dev/controller-manager/internal/deployment"
	"xebec.dev/controller-manager/internal/disruption"
	"xebec.dev/controller-manager/internal/endpoints"
	"xebec.dev/controller-manager/internal/endpointslice"
	"xebec.dev/controller-manager/internal/endpointslicemirroring"
	"xebec.dev/controller-manager/internal/ephemeralvolume"
	"xebec.dev/controller-manager/internal/gc"
	"xebec.dev/controller-manager/internal/job"
	"xebec.dev/controller-manager/internal/namespace"
	"xebec.dev/controller-manager/internal/nodeipam"
	"xebec.dev/controller-manager/internal/nodelifecycle"
	"xebec.dev/controller-manager/internal/podgc"
	"xebec.dev/controller-manager/internal/pvbinder"
	"xebec.dev/controller-manager/internal/pvcprotection"
	"xebec.dev/controller-manager/internal/pvprotection"
	"xebec.dev/controller-manager/internal/replicaset"
	"xebec.dev/controller-manager/internal/resourcequota"
	"xebec.dev/controller-manager/internal/roleaggregation"
	"xebec.dev/controller-manager/internal/rootca"
	"xebec.dev/controller-manager/internal/satoken"
	"xebec.dev/controller-manager/internal/serviceaccount"
	"xebec.dev/controller-manager/internal/servicecidr"
	"xebec.dev/controller-manager/internal/statefulset"
	"xebec.dev/controller-manager/internal/tainteviction"
	"xebec.dev/controller-manager/internal/tokencleaner"
	"xebec.dev/controller-manager/internal/ttl"
	"xebec.dev/controller-manager/internal/ttlafterfinished"
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
		cronjob.Spec,
		endpointslice.Spec,
		endpoints.Spec,
		endpointslicemirroring.Spec,
		servicecidr.Spec,
		ephemeralvolume.Spec,
		roleaggregation.Spec,
		ttl.Spec,
		nodeipam.Spec,
		nodelifecycle.Spec,
		tainteviction.Spec,
		csrapproving.Spec,
		csrsigning.Spec,
		csrcleaner.Spec,
		bootstrapsigner.Spec,
		tokencleaner.Spec,
		podgc.Spec,
		ttlafterfinished.Spec,
		disruption.Spec,
		resourcequota.Spec,
		pvcprotection.Spec,
		pvprotection.Spec,
		pvbinder.Spec,
	}
}
