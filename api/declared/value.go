package declared

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type format = func(context.Context, operation.Operation, *field.Path, *string, *string) field.ErrorList

var formats = map[string]format{
	"k8s-short-name":                    validate.ShortName[string],
	"k8s-long-name":                     validate.LongName[string],
	"k8s-long-name-caseless":            validate.LongNameCaseless[string],
	"k8s-label-key":                     validate.LabelKey[string],
	"k8s-prefixed-label-key":            validate.PrefixedLabelKey[string],
	"k8s-label-value":                   validate.LabelValue[string],
	"k8s-path-segment-name":             validate.PathSegmentName[string],
	"k8s-resource-pool-name":            validate.ResourcePoolName[string],
	"k8s-resource-fully-qualified-name": validate.ResourceFullyQualifiedName[string],
	"k8s-uuid":                          validate.UUID[string],
}

// value checks a value that is set.
func (r *Rule) value(path *field.Path, v reflect.Value) field.ErrorList {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.String:
		return r.text(path, v.String())
	case v.CanInt():
		return r.number(path, v.Int())
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return r.length(path, v.Len())
	}
	return nil
}

func (r *Rule) text(path *field.Path, s string) field.ErrorList {
	ctx, op := context.Background(), operation.Operation{}
	var errs field.ErrorList
	if r.maxLength > 0 {
		errs = append(errs, validate.MaxLength(ctx, op, path, &s, nil, r.maxLength)...)
	}
	if r.maxBytes > 0 {
		errs = append(errs, validate.MaxBytes(ctx, op, path, &s, nil, r.maxBytes)...)
	}
	if r.format != "" {
		errs = append(errs, formats[r.format](ctx, op, path, &s, nil)...)
	}
	if len(r.enum) > 0 {
		errs = append(errs, validate.Enum(ctx, op, path, &s, nil, sets.New(r.enum...), nil)...)
	}
	return errs
}

func (r *Rule) number(path *field.Path, n int64) field.ErrorList {
	ctx, op := context.Background(), operation.Operation{}
	var errs field.ErrorList
	if r.minimum != nil {
		errs = append(errs, validate.Minimum(ctx, op, path, &n, nil, *r.minimum)...)
	}
	if r.maximum != nil {
		errs = append(errs, validate.Maximum(ctx, op, path, &n, nil, *r.maximum)...)
	}
	return errs
}

func (r *Rule) length(path *field.Path, n int) field.ErrorList {
	if r.maxItems > 0 && n > r.maxItems {
		return field.ErrorList{field.TooMany(path, n, r.maxItems)}
	}
	if n < r.minItems {
		return field.ErrorList{field.TooFew(path, n, r.minItems)}
	}
	return nil
}

// transition checks how a value that has changed may change.
func (r *Rule) transition(path *field.Path, v, old reflect.Value) field.ErrorList {
	var errs field.ErrorList
	was, is := !unset(old), !unset(v)
	refuse := func(wrong bool, message string) {
		if wrong {
			errs = append(errs, field.Invalid(path, nil, message))
		}
	}
	refuse(r.noSet && !was && is, "field cannot be set once created")
	refuse(r.noUnset && was && !is, "field cannot be cleared once set")
	refuse(r.noModify && was && is, "field cannot be modified once set")
	if r.monotonic && was && is {
		now, before := reflect.Indirect(v).Int(), reflect.Indirect(old).Int()
		errs = append(errs, validate.Monotonic(context.Background(), operation.Operation{Type: operation.Update}, path, &now, &before)...)
	}
	for i := 0; r.noAdd && i < v.Len(); i++ {
		if !find(old, r.key, v.Index(i)).IsValid() {
			errs = append(errs, field.Forbidden(path.Index(i), "item may not be added"))
		}
	}
	for i := 0; r.noRemove && i < old.Len(); i++ {
		if !find(v, r.key, old.Index(i)).IsValid() {
			errs = append(errs, field.Forbidden(path, "item may not be removed"))
		}
	}
	return errs
}
