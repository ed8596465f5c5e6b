package observedtest

import "testing"

func TestEveryRecordingLoads(t *testing.T) {
	for _, f := range []string{"core-pod.jsonl", "crd.jsonl", "machinery-verbs.jsonl"} {
		cases, err := Load(f)
		if err != nil || len(cases) == 0 {
			t.Errorf("%s: %d cases, %v", f, len(cases), err)
		}
	}
}
