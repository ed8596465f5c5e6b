package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"xebec.dev/scheduler/internal/framework"
)

const head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

func names[P framework.Plugin](list []P) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name())
	}
	return strings.Join(out, " ")
}

func scores(p *framework.Profile) map[string]int64 {
	out := map[string]int64{}
	for _, s := range p.Scores {
		out[s.Name()] = s.Weight
	}
	return out
}

func build(t *testing.T, text string) []*framework.Profile {
	t.Helper()
	c, err := Decode([]byte(head + text))
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(c); err != nil {
		t.Fatal(err)
	}
	out, err := Profiles(c, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDefaultProfile(t *testing.T) {
	p := build(t, "")[0]
	if p.Name != "default-scheduler" {
		t.Errorf("name %q", p.Name)
	}
	const filters = "NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources"
	if got := names(p.Filters); got != filters {
		t.Errorf("filters %s", got)
	}
	if got := names(p.PostFilter); got != "DynamicResources DefaultPreemption" {
		t.Errorf("postFilter %s", got)
	}
	want := map[string]int64{"TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2, "InterPodAffinity": 2, "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1}
	got := scores(p)
	for name, w := range want {
		if got[name] != w {
			t.Errorf("weight of %s is %d, want %d", name, got[name], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("scores %v", got)
	}
	if names(p.PreEnqueue) != "SchedulingGates" || p.QueueSort.Name() != "PrioritySort" || names(p.Bind) != "DefaultBinder" {
		t.Errorf("preEnqueue %s, queueSort %s, bind %s", names(p.PreEnqueue), p.QueueSort.Name(), names(p.Bind))
	}
}

func TestPluginSets(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		check      func(p *framework.Profile) (got, want any)
	}{
		{"a default configured anew keeps its place", "profiles: [{plugins: {multiPoint: {enabled: [{name: NodeResourcesFit, weight: 7}]}}}]",
			func(p *framework.Profile) (any, any) { return scores(p)["NodeResourcesFit"], int64(7) }},
		{"disabled everywhere", "profiles: [{plugins: {multiPoint: {disabled: [{name: ImageLocality}]}}}]",
			func(p *framework.Profile) (any, any) { return scores(p)["ImageLocality"], int64(0) }},
		{"disabled at a point", "profiles: [{plugins: {score: {disabled: [{name: NodeResourcesFit}]}}}]",
			func(p *framework.Profile) (any, any) {
				return strings.Contains(names(p.Filters), "NodeResourcesFit") && scores(p)["NodeResourcesFit"] == 0, true
			}},
		{"all off at a point, one on", "profiles: [{plugins: {score: {disabled: [{name: '*'}], enabled: [{name: ImageLocality, weight: 5}]}}}]",
			func(p *framework.Profile) (any, any) {
				return len(p.Scores) == 1 && scores(p)["ImageLocality"] == 5, true
			}},
		{"the point's weight counts", "profiles: [{plugins: {score: {enabled: [{name: NodeAffinity, weight: 9}]}}}]",
			func(p *framework.Profile) (any, any) { return scores(p)["NodeAffinity"], int64(9) }},
		{"a filter is off when both of its points are", "profiles: [{plugins: {preFilter: {disabled: [{name: NodePorts}]}, filter: {disabled: [{name: NodePorts}]}}}]",
			func(p *framework.Profile) (any, any) { return strings.Contains(names(p.Filters), "NodePorts"), false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := tt.check(build(t, tt.text)[0]); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"parallelism: 0":          "parallelism: Invalid value: 0",
		"paralelism: 1":           `unknown field "paralelism"`,
		"podMaxBackoffSeconds: 0": "podMaxBackoffSeconds: Invalid value: 0",
		"profiles: [{schedulerName: a}, {schedulerName: a}]":                                                                                                     `profiles[1].schedulerName: Duplicate value: "a"`,
		"profiles: [{schedulerName: a}, {}]":                                                                                                                     "profiles[1].schedulerName: Required value",
		"profiles: [{plugins: {filter: {enabled: [{name: Nope}]}}}]":                                                                                             `plugin "Nope" does not exist`,
		"profiles: [{plugins: {multiPoint: {disabled: [{name: DefaultBinder}]}}}]":                                                                               "at least one bind plugin is needed",
		"profiles: [{plugins: {multiPoint: {disabled: [{name: PrioritySort}]}}}]":                                                                                "one queue sort plugin required",
		"profiles: [{plugins: {score: {enabled: [{name: NodeName}]}}}]":                                                                                          `plugin "NodeName" does not extend this point`,
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}]}]":                                                          `Unsupported value: "Best"`,
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {ignored: []}}]}]":                                                                            `unknown field "ignored"`,
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {kind: InterPodAffinityArgs}}]}]":                                                             "no kind",
		"profiles: [{pluginConfig: [{name: ImageLocality, args: {a: 1}}]}]":                                                                                      "takes no arguments",
		"profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]}}]}]": `this must be "List"`,
		"profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]":                                                             "not in valid range [0-100]",
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: RequestedToCapacityRatio}}}]}]":                                      "at least one point must be specified",
		"profiles: [{pluginConfig: [{name: NodeAffinity, args: {addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Near}]}]}}}}]}]":    "operator",
		"profiles: [{pluginConfig: [{name: NodeAffinity, args: {addedAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: In}]}}]}}}]}]": "preferredDuringSchedulingIgnoredDuringExecution[0].preference",
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {ignoredResourceGroups: [a/b]}}]}]":                                                                                                          "resource group name can't contain '/'",
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {ignoredResources: ['a b']}}]}]":                                                                                                             "ignoredResources[0]: Invalid value",
		"profiles: [{pluginConfig: [{name: VolumeBinding, args: {shape: [{utilization: 0, score: 0}]}}]}]":                                                                                                      "StorageCapacityScoring feature is disabled",
		"profiles: [{pluginConfig: [{name: DynamicResources, args: {bindingTimeout: 1ms}}]}]":                                                                                                                   "must be at least 1 second",
		"leaderElection: {leaseDuration: 5s}":                                                     "LeaseDuration must be greater than RenewDeadline",
		"leaderElection: {retryPeriod: 10s}":                                                      "RenewDeadline must be greater than RetryPeriod",
		"leaderElection: {retryPeriod: -1s}":                                                      "must be greater than zero",
		"leaderElection: {resourceLock: configmaps}":                                              `resourceLock value must be "leases"`,
		"extenders: [{urlPrefix: 'http://a', managedResources: [{name: cpu}]}]":                   "is an invalid extended resource name",
		"extenders: [{urlPrefix: 'http://a', prioritizeVerb: p}]":                                 "must have a positive weight",
		"extenders: [{urlPrefix: 'http://a', bindVerb: b}, {urlPrefix: 'http://b', bindVerb: b}]": "only one extender can implement bind",
	} {
		c, err := Decode([]byte(head + text))
		if err == nil {
			err = Validate(c)
		}
		if err == nil {
			_, err = Profiles(c, Deps{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Decode([]byte("apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n")); err == nil {
		t.Error("an old version is taken")
	}
}

// Whatever a file holds, reading it neither panics nor hangs.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(head))
	f.Add([]byte(head + "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Decode(text)
		if err != nil {
			return
		}
		if Validate(c) == nil {
			_, _ = Profiles(c, Deps{}) // an error is as good
		}
	})
}

// What has no effect is told, and nothing else.
func TestIgnored(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"percentageOfNodesToScore: 100": "",
		"percentageOfNodesToScore: 30\nprofiles: [{schedulerName: a, percentageOfNodesToScore: 5}, {schedulerName: b}]\nparallelism: 4": "parallelism percentageOfNodesToScore profiles[0].percentageOfNodesToScore",
		"clientConnection: {qps: 1000, burst: 2000, contentType: application/json}\ndelayCacheUntilActive: true":                        "clientConnection.contentType clientConnection.qps delayCacheUntilActive",
	} {
		c, err := Decode([]byte(head + text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(c.Ignored())), " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
