package storage

import (
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{
		Kinds: []string{"StorageClass", "VolumeAttachment", "CSIDriver", "CSIStorageCapacity"},
	}, "storage.jsonl", "machinery-negotiation.jsonl")
	// The status of a CSINode is new in v1.37 and always shown.
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{
		Kinds: []string{"CSINode"}, Ignore: []string{"status"},
	}, "storage.jsonl", "machinery-negotiation.jsonl")
	// The finalizer is put on by admission.
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{
		Kinds: []string{"VolumeAttributesClass"}, Ignore: []string{"metadata.finalizers"},
	}, "storage.jsonl", "machinery-negotiation.jsonl")
}
