package resource

import (
	"encoding/json"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/api/resource/v1alpha3"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/randfill"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func versionOf(t *testing.T, versions []scheme.Version, name string) scheme.Version {
	t.Helper()
	for _, v := range versions {
		if v.Version == name {
			if !v.OffByDefault || v.Deprecated == "" {
				t.Errorf("%s is on, or without a warning", name)
			}
			return v
		}
	}
	t.Fatalf("no version %s", name)
	return scheme.Version{}
}

func TestBetaShapes(t *testing.T) {
	for _, c := range []struct {
		versions    []scheme.Version
		stored      scheme.Object
		beta, wants string
	}{
		{claimVersions(), &resourcev1.ResourceClaim{},
			`{"metadata":{"name":"a"},"spec":{"devices":{"requests":[
				{"name":"r","deviceClassName":"c","selectors":[{"cel":{"expression":"e"}}],"count":2,"adminAccess":true,"tolerations":[{"key":"k"}],"capacity":{"requests":{"m":"1Gi"}}},
				{"name":"s","deviceClassName":"","firstAvailable":[{"name":"t","deviceClassName":"d"}]}],
				"constraints":[{"requests":["r"],"matchAttribute":"a"}]}},"status":{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}}`,
			`{"metadata":{"name":"a"},"spec":{"devices":{"requests":[
				{"name":"r","exactly":{"deviceClassName":"c","selectors":[{"cel":{"expression":"e"}}],"count":2,"adminAccess":true,"tolerations":[{"key":"k"}],"capacity":{"requests":{"m":"1Gi"}}}},
				{"name":"s","firstAvailable":[{"name":"t","deviceClassName":"d"}]}],
				"constraints":[{"requests":["r"],"matchAttribute":"a"}]}},"status":{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}}`},
		{templateVersions(), &resourcev1.ResourceClaimTemplate{},
			`{"metadata":{"name":"a"},"spec":{"metadata":{"labels":{"a":"b"}},"spec":{"devices":{"requests":[{"name":"r","deviceClassName":"c"}]}}}}`,
			`{"metadata":{"name":"a"},"spec":{"metadata":{"labels":{"a":"b"}},"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}}}}`},
		{sliceVersions(), &resourcev1.ResourceSlice{},
			`{"metadata":{"name":"a"},"spec":{"driver":"d","pool":{"name":"p","generation":1,"resourceSliceCount":1},"nodeName":"n",
				"devices":[{"name":"x","basic":{"attributes":{"a":{"int":1}},"capacity":{"m":{"value":"1"}},"taints":[{"key":"k","effect":"NoExecute"}]}}]}}`,
			`{"metadata":{"name":"a"},"spec":{"driver":"d","pool":{"name":"p","generation":1,"resourceSliceCount":1},"nodeName":"n",
				"devices":[{"name":"x","attributes":{"a":{"int":1}},"capacity":{"m":{"value":"1"}},"taints":[{"key":"k","effect":"NoExecute"}]}]}}`},
		{sliceVersions(), &resourcev1.ResourceSlice{},
			`{"spec":{"driver":"d","pool":{"name":"p"},"allNodes":true}}`, `{"spec":{"driver":"d","pool":{"name":"p"},"allNodes":true}}`},
	} {
		v := versionOf(t, c.versions, "v1beta1")
		in := v.New()
		if err := json.Unmarshal([]byte(c.beta), in); err != nil {
			t.Fatal(err)
		}
		before := in.DeepCopyObject()
		if err := json.Unmarshal([]byte(c.wants), c.stored); err != nil {
			t.Fatal(err)
		}
		got, err := v.Decode(in)
		if err != nil || !apiequality.Semantic.DeepEqual(got, c.stored) {
			g, _ := json.Marshal(got)
			t.Errorf("decoded %s, %v\nwant    %s", g, err, c.wants)
		}
		back, err := v.Encode(c.stored)
		if err != nil || !apiequality.Semantic.DeepEqual(back, before) || !apiequality.Semantic.DeepEqual(in, before) {
			g, _ := json.Marshal(back)
			t.Errorf("encoded %s, %v\nwant    %s", g, err, c.beta)
		}
	}
}

// Whatever is stored survives the way through an older version, but for what
// v1beta1 can't say: an empty list of devices' nodes beside none.
func TestBetaRoundTrip(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.4).NumElements(1, 3).Funcs(
		func(r *resourcev1.DeviceRequest, c randfill.Continue) {
			c.FillNoCustom(r)
			if r.Exactly != nil {
				r.Exactly.DeviceClassName += "c"
			}
		},
		func(s *resourcev1.ResourceSliceSpec, c randfill.Continue) {
			c.FillNoCustom(s)
			if s.NodeName != nil && *s.NodeName == "" {
				s.NodeName = nil
			}
			if s.AllNodes != nil && !*s.AllNodes {
				s.AllNodes = nil
			}
		},
	)
	for range 50 {
		claim, slice := &resourcev1.ResourceClaim{}, &resourcev1.ResourceSlice{}
		fill.Fill(&claim.Spec.Devices.Requests)
		fill.Fill(&slice.Spec)
		for _, c := range []struct {
			v scheme.Version
			o scheme.Object
		}{
			{versionOf(t, claimVersions(), "v1beta1"), claim}, {versionOf(t, claimVersions(), "v1beta2"), claim},
			{versionOf(t, sliceVersions(), "v1beta1"), slice}, {versionOf(t, sliceVersions(), "v1beta2"), slice},
		} {
			old, err := c.v.Encode(c.o)
			if err != nil {
				t.Fatal(err)
			}
			back, err := c.v.Decode(old)
			want, _ := json.Marshal(c.o)
			if got, _ := json.Marshal(back); err != nil || string(got) != string(want) {
				t.Fatalf("%s: %v\n got %s\nwant %s", c.v.Version, err, got, want)
			}
		}
	}
}

func TestTaintRule(t *testing.T) {
	const base = `{"apiVersion":"resource.k8s.io/v1","kind":"DeviceTaintRule","metadata":{"name":"a"},
		"spec":{"deviceSelector":{"driver":"d.com"},"taint":{"key":"k","effect":"NoSchedule"}}}`
	observedtest.Attempts(t, taintRules(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "no effect", Patch: `{"spec":{"taint":{"effect":null}}}`, Want: []string{`spec.taint.effect: Required value`}},
		{Name: "selector", Patch: `{"spec":{"deviceSelector":{"pool":"","device":"A"}}}`, Want: []string{
			`spec.deviceSelector.pool: Required value`,
			`spec.deviceSelector.device: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`}},
		{Name: "another effect", Old: base, Patch: `{"spec":{"taint":{"effect":"NoExecute"}}}`},
	})
}

func TestPoolRequest(t *testing.T) {
	const base = `{"apiVersion":"resource.k8s.io/v1alpha3","kind":"ResourcePoolStatusRequest","metadata":{"name":"a"},"spec":{"driver":"d.com"}}`
	observedtest.Attempts(t, poolRequests(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{"spec":{"poolName":"a.b/c"}}`},
		{Name: "limit", Patch: `{"spec":{"driver":"","limit":1001}}`, Want: []string{
			`spec.driver: Required value`, `spec.limit: Invalid value: 1001: must be less than or equal to 1000`}},
		{Name: "another driver", Old: base, Patch: `{"spec":{"driver":"e.com"}}`, Want: []string{`spec: Invalid value: null: field is immutable`}},
		{Name: "answer", Old: base, Subresource: "status", Patch: `{"status":{"poolCount":1,"pools":[{"driver":"d.com","poolName":"p","generation":0}]}}`},
		{Name: "odd answer", Old: base, Subresource: "status", Patch: `{"status":{"pools":[{"driver":"d.com","poolName":"p","generation":-1,
				"partitionSummary":[{"attribute":"a","type":"t","total":1,"allocatable":1},{"attribute":"a","type":"t","total":1,"allocatable":1}]}]}}`, Want: []string{
			`status.poolCount: Required value`,
			`status.pools[0].generation: Invalid value: -1: must be greater than or equal to 0`,
			`status.pools[0].partitionSummary[1]: Duplicate value: "a/t"`}},
	})
	if missing := poolRules.Missing(v1alpha3.ResourcePoolStatusRequest{}); len(missing) > 0 {
		t.Errorf("no such fields: %q", missing)
	}
}
