package flowcontrol

import (
	"fmt"
	"math"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

const (
	maxQueues = 10 * 1000 * 1000
	// maxEntropyBits is how many bits of a hash are left to deal hands with.
	maxEntropyBits = 60
)

var levelHooks = scheme.Hooks[flowcontrolv1.PriorityLevelConfiguration]{
	Default: DefaultPriorityLevel,
	PrepareCreate: func(_ scheme.Context, p *flowcontrolv1.PriorityLevelConfiguration) {
		p.Status = flowcontrolv1.PriorityLevelConfigurationStatus{}
	},
	PrepareUpdate:  func(_ scheme.Context, p, old *flowcontrolv1.PriorityLevelConfiguration) { p.Status = old.Status },
	ValidateCreate: validateLevel,
	ValidateUpdate: func(p, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return validateLevel(p) },
	SpecChanged: func(p, old *flowcontrolv1.PriorityLevelConfiguration) bool {
		return !apiequality.Semantic.DeepEqual(&p.Spec, &old.Spec)
	},
	ResetFields: []string{"status"},
}

var levelStatusHooks = scheme.UpdateHooks[flowcontrolv1.PriorityLevelConfiguration]{
	PrepareUpdate: func(_ scheme.Context, p, old *flowcontrolv1.PriorityLevelConfiguration) {
		p.Spec = old.Spec
		metav1.ResetObjectMetaForStatus(&p.ObjectMeta, &old.ObjectMeta)
	},
	ValidateUpdate: func(p, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
		return validateLevelStatus(&p.Status)
	},
	ResetFields: []string{"metadata", "spec"},
}

func validateLevelStatus(s *flowcontrolv1.PriorityLevelConfigurationStatus) field.ErrorList {
	return validateConditionTypes(len(s.Conditions), func(i int) string { return string(s.Conditions[i].Type) })
}

func validateLevel(p *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateLevelSpec(p.Name, &p.Spec, path)
	if fault := mandatoryFault(p); fault != "" {
		errs = append(errs, field.Invalid(path, internalform.Of(p.Spec), fault))
	}
	return append(errs, validateLevelStatus(&p.Status)...)
}

// mandatoryFault lets an administrator change what the exempt level lends, and
// nothing else of the mandatory levels.
func mandatoryFault(p *flowcontrolv1.PriorityLevelConfiguration) string {
	fixed := MandatoryPriorityLevelSpec(p.Name)
	if fixed == nil {
		return ""
	}
	spec := p.Spec
	fault := fmt.Sprintf("spec of '%s' must equal the fixed value", p.Name)
	if p.Name == Exempt {
		spec.Exempt, fixed.Exempt = nil, nil
		fault = fmt.Sprintf("spec of '%s' except the 'spec.exempt' field must equal the fixed value", p.Name)
	}
	if apiequality.Semantic.DeepEqual(&spec, fixed) {
		return ""
	}
	return fault
}

func validateLevelSpec(name string, s *flowcontrolv1.PriorityLevelConfigurationSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if (name == Exempt) != (s.Type == flowcontrolv1.PriorityLevelEnablementExempt) {
		errs = append(errs, field.Invalid(path.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	switch s.Type {
	case flowcontrolv1.PriorityLevelEnablementExempt:
		if s.Limited != nil {
			errs = append(errs, field.Forbidden(path.Child("limited"), "must be nil if the type is not Limited"))
		}
		if e := s.Exempt; e != nil {
			errs = append(errs, validateShares(e.NominalConcurrencyShares, path.Child("exempt"))...)
			errs = append(errs, validateLendable(e.LendablePercent, path.Child("exempt"))...)
		}
	case flowcontrolv1.PriorityLevelEnablementLimited:
		if s.Exempt != nil {
			errs = append(errs, field.Forbidden(path.Child("exempt"), "must be nil if the type is Limited"))
		}
		if s.Limited == nil {
			errs = append(errs, field.Required(path.Child("limited"), "must not be empty when type is Limited"))
		} else {
			errs = append(errs, validateLimited(s.Limited, path.Child("limited"))...)
		}
	case "":
		errs = append(errs, field.Required(path.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(path.Child("type"), s.Type, []flowcontrolv1.PriorityLevelEnablement{
			flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited}))
	}
	return errs
}

func validateShares(shares *int32, path *field.Path) field.ErrorList {
	if shares == nil || *shares >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("nominalConcurrencyShares"), *shares, "must be a non-negative integer")}
}

func validateLendable(percent *int32, path *field.Path) field.ErrorList {
	if percent == nil || *percent >= 0 && *percent <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("lendablePercent"), *percent, "must be between 0 and 100, inclusive")}
}

func validateLimited(l *flowcontrolv1.LimitedPriorityLevelConfiguration, path *field.Path) field.ErrorList {
	errs := validateShares(l.NominalConcurrencyShares, path)
	errs = append(errs, validateResponse(&l.LimitResponse, path.Child("limitResponse"))...)
	errs = append(errs, validateLendable(l.LendablePercent, path)...)
	if b := l.BorrowingLimitPercent; b != nil && *b < 0 {
		errs = append(errs, field.Invalid(path.Child("borrowingLimitPercent"), *b, "if specified, must be a non-negative integer"))
	}
	return errs
}

func validateResponse(r *flowcontrolv1.LimitResponse, path *field.Path) field.ErrorList {
	at := path.Child("queuing")
	switch r.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if r.Queuing != nil {
			return field.ErrorList{field.Forbidden(at, "must be nil if limited.limitResponse.type is not Limited")}
		}
		return nil
	case flowcontrolv1.LimitResponseTypeQueue:
		if r.Queuing == nil {
			return field.ErrorList{field.Required(at, "must not be empty if limited.limitResponse.type is Limited")}
		}
		return validateQueuing(r.Queuing, at)
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "")}
	}
	return check.OneOf(path.Child("type"), r.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)
}

func validateQueuing(q *flowcontrolv1.QueuingConfiguration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if q.QueueLengthLimit <= 0 {
		errs = append(errs, field.Invalid(path.Child("queueLengthLimit"), q.QueueLengthLimit, "must be positive"))
	}
	if q.Queues <= 0 {
		errs = append(errs, field.Invalid(path.Child("queues"), q.Queues, "must be positive"))
	} else if q.Queues > maxQueues {
		errs = append(errs, field.Invalid(path.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues)))
	}
	at := path.Child("handSize")
	switch {
	case q.HandSize <= 0:
		errs = append(errs, field.Invalid(at, q.HandSize, "must be positive"))
	case q.HandSize > q.Queues:
		errs = append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	case entropyBits(q.Queues, q.HandSize) > maxEntropyBits:
		errs = append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf(
			"required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, maxEntropyBits)))
	}
	return errs
}

// entropyBits is what dealing a hand of queues consumes of a hash.
func entropyBits(queues, hand int32) int {
	return int(math.Ceil(math.Log2(float64(queues)) * float64(hand)))
}
