package flowcontrol

import (
	"testing"

	"xebec.dev/api/observedtest"
)

func TestFlowSchema(t *testing.T) {
	base := `{"spec":{"priorityLevelConfiguration":{"name":"l"}}}`
	user := `"subjects":[{"kind":"User","user":{"name":"u"}}]`
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "urls", Patch: `{"spec":{"rules":[{` + user + `,"nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/","/a/*","/a*","/a b","a","/a//b",""]}]}]}}`,
			Want: []string{
				`spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a*": wildcard can only do suffix matching`,
				`spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: "/a b": must not contain white-space`,
				`spec.rules[0].nonResourceRules[0].nonResourceURLs[4]: Invalid value: "a": must start with slash`,
				`spec.rules[0].nonResourceRules[0].nonResourceURLs[5]: Invalid value: "/a//b": must not contain double slash`,
				`spec.rules[0].nonResourceRules[0].nonResourceURLs[6]: Invalid value: "": must not be empty`,
			}},
		{Name: "stars", Patch: `{"spec":{"rules":[{` + user + `,"resourceRules":[{"verbs":["*"],"apiGroups":["*","a"],"resources":["*","a"],"namespaces":["*","a"]}]}]}}`,
			Want: []string{
				`spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other api groups`,
				`spec.rules[0].resourceRules[0].resources: Invalid value: ["*","a"]: if '*' is present, must not specify other resources`,
				`spec.rules[0].resourceRules[0].namespaces: Invalid value: ["*","a"]: if '*' is present, must not specify other namespaces`,
			}},
		{Name: "service account", Patch: `{"spec":{"rules":[{"subjects":[{"kind":"ServiceAccount","serviceAccount":{"name":""},"user":{"name":"u"}}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}}`,
			Want: []string{
				"spec.rules[0].subjects[0].serviceAccount.name: Required value",
				"spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
				"spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
			}},
		{Name: "too late", Patch: `{"spec":{"matchingPrecedence":10001}}`,
			Want: []string{"spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"}},
	})
}

func TestPriorityLevel(t *testing.T) {
	observedtest.Attempts(t, Resources()[1], ``, []observedtest.Attempt{
		{Name: "exempt lends", Patch: `{"metadata":{"name":"exempt"},"spec":{"type":"Exempt","exempt":{"lendablePercent":50}}}`},
		{Name: "exempt lends too much", Patch: `{"metadata":{"name":"exempt"},"spec":{"type":"Exempt","exempt":{"lendablePercent":101,"nominalConcurrencyShares":-1}}}`,
			Want: []string{
				"spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
				"spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
			}},
		{Name: "hand larger than the deck", Patch: `{"spec":{"type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{"queues":2,"handSize":3}}}}}`,
			Want: []string{"spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)"}},
		{Name: "catch-all", Patch: `{"metadata":{"name":"catch-all"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":5,"lendablePercent":0,"limitResponse":{"type":"Reject"}}}}`},
	})
}
