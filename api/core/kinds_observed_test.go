package core_test

import (
	"testing"

	"xebec.dev/api/core"
	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

// kinds are those with rules in this package, pods aside.
var kinds = []string{
	"ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim",
	"PodTemplate", "ReplicationController", "ResourceQuota", "Secret", "Service", "ServiceAccount",
}

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(core.Resources()), observedtest.Options{Kinds: kinds},
		"core-other.jsonl", "core-service.jsonl", "storage.jsonl", "misc-groups.jsonl",
		"machinery-verbs.jsonl", "machinery-patch-apply.jsonl", "machinery-negotiation.jsonl", "machinery-list-watch.jsonl",
		"node-restriction.jsonl")
}
