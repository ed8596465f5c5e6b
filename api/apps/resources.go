// Package apps has the resources of the API group apps: names, defaults, validation,
// columns and update rules.
package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "apps", Version: "v1", Kind: "ControllerRevision",
			Plural: "controllerrevisions", Singular: "controllerrevision",
			Namespaced:    true,
			New:           func() runtime.Object { return new(appsv1.ControllerRevision) },
			NewList:       func() runtime.Object { return new(appsv1.ControllerRevisionList) },
			StoragePrefix: "controllerrevisions",
			Columns:       controllerRevisionColumns(),
			Row:           scheme.Rows(controllerRevisionRow),
			Strategy:      controllerRevisionHooks().Erase(),
		},
		{
			Group: "apps", Version: "v1", Kind: "DaemonSet",
			Plural: "daemonsets", Singular: "daemonset",
			ShortNames:    []string{"ds"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(appsv1.DaemonSet) },
			NewList:       func() runtime.Object { return new(appsv1.DaemonSetList) },
			StoragePrefix: "daemonsets",
			Served:        []scheme.Version{{Group: "apps", Version: "v1", Decode: decodeDaemonSet}},
			Columns:       daemonSetColumns(),
			Row:           scheme.Rows(daemonSetRow),
			Strategy:      daemonSetHooks().Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: statusVerbs, Update: daemonSetStatusHooks().Pointer()},
			},
		},
		{
			Group: "apps", Version: "v1", Kind: "Deployment",
			Plural: "deployments", Singular: "deployment",
			ShortNames:    []string{"deploy"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(appsv1.Deployment) },
			NewList:       func() runtime.Object { return new(appsv1.DeploymentList) },
			StoragePrefix: "deployments",
			Columns:       deploymentColumns(),
			Row:           scheme.Rows(deploymentRow),
			Strategy:      deploymentHooks().Erase(),
			Subresources: []scheme.Subresource{
				scaleSubresource(deploymentScale()),
				{Name: "status", Verbs: statusVerbs, Update: deploymentStatusHooks().Pointer()},
			},
		},
		{
			Group: "apps", Version: "v1", Kind: "ReplicaSet",
			Plural: "replicasets", Singular: "replicaset",
			ShortNames:    []string{"rs"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(appsv1.ReplicaSet) },
			NewList:       func() runtime.Object { return new(appsv1.ReplicaSetList) },
			StoragePrefix: "replicasets",
			Columns:       replicaSetColumns(),
			Row:           scheme.Rows(replicaSetRow),
			Strategy:      replicaSetHooks().Erase(),
			Subresources: []scheme.Subresource{
				scaleSubresource(replicaSetScale()),
				{Name: "status", Verbs: statusVerbs, Update: replicaSetStatusHooks().Pointer()},
			},
		},
		{
			Group: "apps", Version: "v1", Kind: "StatefulSet",
			Plural: "statefulsets", Singular: "statefulset",
			ShortNames:    []string{"sts"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(appsv1.StatefulSet) },
			NewList:       func() runtime.Object { return new(appsv1.StatefulSetList) },
			StoragePrefix: "statefulsets",
			Columns:       statefulSetColumns(),
			Row:           scheme.Rows(statefulSetRow),
			Strategy:      statefulSetHooks().Erase(),
			Subresources: []scheme.Subresource{
				scaleSubresource(statefulSetScale()),
				{Name: "status", Verbs: statusVerbs, Update: statefulSetStatusHooks().Pointer()},
			},
		},
	}
}

var statusVerbs = []string{"get", "patch", "update"}

func scaleSubresource(s *scheme.Scale) scheme.Subresource {
	return scheme.Subresource{
		Name: "scale", Group: "autoscaling", Version: "v1", Kind: "Scale",
		Verbs: []string{"get", "patch", "update"}, Scale: s,
	}
}
