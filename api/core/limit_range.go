package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func limitRangeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "LimitRange",
		Plural: "limitranges", Singular: "limitrange",
		ShortNames:    []string{"limits"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.LimitRange) },
		NewList:       func() runtime.Object { return new(corev1.LimitRangeList) },
		StoragePrefix: "limitranges",
	}
}
