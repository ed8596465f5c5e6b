package core

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// DefaultLimitRange fills what containers get: the limit from the maximum, the
// request from the limit or else from the minimum.
func DefaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type == corev1.LimitTypeContainer {
			defaultContainerLimits(item)
		}
		for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
			RoundResources(list)
		}
	}
}

func defaultContainerLimits(item *corev1.LimitRangeItem) {
	item.Default = fillFrom(item.Default, item.Max)
	item.DefaultRequest = fillFrom(fillFrom(item.DefaultRequest, item.Default), item.Min)
}

// fillFrom copies into list the resources it does not name.
func fillFrom(list, from corev1.ResourceList) corev1.ResourceList {
	if list == nil && len(from) > 0 {
		return maps.Clone(from)
	}
	for name, q := range from {
		if _, ok := list[name]; !ok {
			list[name] = q
		}
	}
	return list
}
