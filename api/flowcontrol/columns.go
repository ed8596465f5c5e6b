package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func schemaColumns() []metav1.TableColumnDefinition {
	spec := flowcontrolv1.FlowSchemaSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("PriorityLevel", flowcontrolv1.PriorityLevelConfigurationReference{}, "name"),
		table.Field("MatchingPrecedence", spec, "matchingPrecedence"),
		table.Field("DistinguisherMethod", spec, "distinguisherMethod"),
		table.Age(),
		table.String("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
	}
}

func schemaRow(s *flowcontrolv1.FlowSchema, now metav1.Time) []any {
	method, missing := "<none>", "?"
	if m := s.Spec.DistinguisherMethod; m != nil {
		method = string(m.Type)
	}
	for _, c := range s.Status.Conditions {
		if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
			missing = string(c.Status)
			break
		}
	}
	return []any{s.Name, s.Spec.PriorityLevelConfiguration.Name, int64(s.Spec.MatchingPrecedence), method,
		table.Since(s.CreationTimestamp, now), missing}
}

func levelColumns() []metav1.TableColumnDefinition {
	queuing := flowcontrolv1.QueuingConfiguration{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Type", flowcontrolv1.PriorityLevelConfigurationSpec{}, "type"),
		table.Field("NominalConcurrencyShares", flowcontrolv1.LimitedPriorityLevelConfiguration{}, "nominalConcurrencyShares"),
		table.Field("Queues", queuing, "queues"),
		table.Field("HandSize", queuing, "handSize"),
		table.Field("QueueLengthLimit", queuing, "queueLengthLimit"),
		table.Age(),
	}
}

func levelRow(p *flowcontrolv1.PriorityLevelConfiguration, now metav1.Time) []any {
	var shares, queues, hand, length any = "<none>", "<none>", "<none>", "<none>"
	if l := p.Spec.Limited; l != nil {
		if l.NominalConcurrencyShares != nil {
			shares = *l.NominalConcurrencyShares
		}
		if q := l.LimitResponse.Queuing; q != nil {
			queues, hand, length = q.Queues, q.HandSize, q.QueueLengthLimit
		}
	}
	return []any{p.Name, string(p.Spec.Type), shares, queues, hand, length, table.Since(p.CreationTimestamp, now)}
}
