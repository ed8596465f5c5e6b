package core

import (
	"regexp"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The three name formats of RFC 3720 and RFC 3980.
var (
	iscsiIQN = regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`)
	iscsiEUI = regexp.MustCompile(`^eui.[[:alnum:]]{16}$`)
	iscsiNAA = regexp.MustCompile(`^naa.[[:alnum:]]{32}$`)
)

// iscsiTarget is what pods' and persistent volumes' iSCSI sources share.
type iscsiTarget struct {
	portal    string
	iqn       string
	lun       int32
	chap      bool
	secret    bool
	initiator *string
}

func (t *iscsiTarget) validate(p *field.Path) field.ErrorList {
	errs := required(p, "targetPortal", t.portal)
	if t.iqn == "" {
		errs = append(errs, field.Required(p.Child("iqn"), ""))
	} else {
		errs = append(errs, iscsiName(t.iqn, p.Child("iqn"))...)
	}
	if t.lun < 0 || t.lun > 255 {
		errs = append(errs, field.Invalid(p.Child("lun"), t.lun, utilvalidation.InclusiveRangeError(0, 255)))
	}
	if t.chap && !t.secret {
		errs = append(errs, field.Required(p.Child("secretRef"), ""))
	}
	if t.initiator != nil {
		errs = append(errs, iscsiName(*t.initiator, p.Child("initiatorname"))...)
	}
	return errs
}

func iscsiName(name string, p *field.Path) field.ErrorList {
	var format *regexp.Regexp
	switch {
	case strings.HasPrefix(name, "iqn"):
		format = iscsiIQN
	case strings.HasPrefix(name, "eui"):
		format = iscsiEUI
	case strings.HasPrefix(name, "naa"):
		format = iscsiNAA
	default:
		return field.ErrorList{field.Invalid(p, name, "must be valid format starting with iqn, eui, or naa")}
	}
	if !format.MatchString(name) {
		return field.ErrorList{field.Invalid(p, name, "must be valid format")}
	}
	return nil
}
