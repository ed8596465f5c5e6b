// Package upstreamstorage runs Kubernetes' own conformance tests of storage over
// the watch cache and an embedded etcd. It is a module of its own, so that
// the apiserver's never names k8s.io/apiserver.
package upstreamstorage
