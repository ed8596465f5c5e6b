package flowcontrol

import flowcontrolv1 "k8s.io/api/flowcontrol/v1"

// Names of the objects without which requests could not be classified.
const (
	Exempt   = "exempt"
	CatchAll = "catch-all"
)

// MandatoryFlowSchemaSpec is the fixed spec of the schema of the name, nil for
// all but "exempt" and "catch-all".
func MandatoryFlowSchemaSpec(name string) *flowcontrolv1.FlowSchemaSpec {
	switch name {
	case Exempt:
		return &flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: Exempt},
			MatchingPrecedence:         1,
			Rules:                      everythingOf("system:masters"),
		}
	case CatchAll:
		return &flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: CatchAll},
			MatchingPrecedence:         10000,
			DistinguisherMethod:        &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules:                      everythingOf("system:unauthenticated", "system:authenticated"),
		}
	}
	return nil
}

func everythingOf(groups ...string) []flowcontrolv1.PolicyRulesWithSubjects {
	all := []string{"*"}
	rule := flowcontrolv1.PolicyRulesWithSubjects{
		ResourceRules:    []flowcontrolv1.ResourcePolicyRule{{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all}},
		NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: all, NonResourceURLs: all}},
	}
	for _, g := range groups {
		rule.Subjects = append(rule.Subjects, flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: g}})
	}
	return []flowcontrolv1.PolicyRulesWithSubjects{rule}
}

// MandatoryPriorityLevelSpec is the fixed spec of the level of the name, nil
// for all but "exempt" and "catch-all".
func MandatoryPriorityLevelSpec(name string) *flowcontrolv1.PriorityLevelConfigurationSpec {
	zero, five := int32(0), int32(5)
	switch name {
	case Exempt:
		return &flowcontrolv1.PriorityLevelConfigurationSpec{
			Type:   flowcontrolv1.PriorityLevelEnablementExempt,
			Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{NominalConcurrencyShares: &zero, LendablePercent: &zero},
		}
	case CatchAll:
		return &flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &five,
				LendablePercent:          &zero,
				LimitResponse:            flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		}
	}
	return nil
}
