package flowcontrol

import flowcontrolv1 "k8s.io/api/flowcontrol/v1"

// DefaultFlowSchema sets the precedence of a schema.
func DefaultFlowSchema(s *flowcontrolv1.FlowSchema) {
	if s.Spec.MatchingPrecedence == 0 {
		s.Spec.MatchingPrecedence = 1000
	}
}

// DefaultPriorityLevel sets the shares and queues of a level.
func DefaultPriorityLevel(p *flowcontrolv1.PriorityLevelConfiguration) {
	if e := p.Spec.Exempt; e != nil {
		setDefault(&e.NominalConcurrencyShares, 0)
		setDefault(&e.LendablePercent, 0)
	}
	l := p.Spec.Limited
	if l == nil {
		return
	}
	setDefault(&l.NominalConcurrencyShares, 30)
	setDefault(&l.LendablePercent, 0)
	if q := l.LimitResponse.Queuing; q != nil {
		orDefault(&q.Queues, 64)
		orDefault(&q.HandSize, 8)
		orDefault(&q.QueueLengthLimit, 50)
	}
}

func setDefault(p **int32, value int32) {
	if *p == nil {
		*p = &value
	}
}

func orDefault(p *int32, value int32) {
	if *p == 0 {
		*p = value
	}
}
