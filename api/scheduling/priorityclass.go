package scheduling

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

type priorityClass = schedulingv1.PriorityClass

// The priorities of users end where those of the system begin.
const (
	HighestUserPriority   = int32(1_000_000_000)
	SystemCriticalBase    = 2 * HighestUserPriority
	systemPrefix          = "system-"
	SystemClusterCritical = systemPrefix + "cluster-critical"
	SystemNodeCritical    = systemPrefix + "node-critical"
)

// SystemClasses gives the classes that a cluster always has.
func SystemClasses() []*schedulingv1.PriorityClass {
	lower := func() *corev1.PreemptionPolicy {
		p := corev1.PreemptLowerPriority
		return &p
	}
	return []*schedulingv1.PriorityClass{
		{
			ObjectMeta:       metav1.ObjectMeta{Name: SystemNodeCritical},
			Value:            SystemCriticalBase + 1000,
			Description:      "Used for system critical pods that must not be moved from their current node.",
			PreemptionPolicy: lower(),
		},
		{
			ObjectMeta:       metav1.ObjectMeta{Name: SystemClusterCritical},
			Value:            SystemCriticalBase,
			Description:      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
			PreemptionPolicy: lower(),
		},
	}
}

// IsSystemClass is true for the names of SystemClasses, which must not be
// deleted.
func IsSystemClass(name string) bool {
	return name == SystemNodeCritical || name == SystemClusterCritical
}

func hooks() scheme.Hooks[priorityClass] {
	return scheme.Hooks[priorityClass]{
		Default: func(c *priorityClass) {
			if c.PreemptionPolicy == nil {
				p := corev1.PreemptLowerPriority
				c.PreemptionPolicy = &p
			}
		},
		ValidateCreate: validate,
		ValidateUpdate: validateUpdate,
		// What the generation is about can't change.
		SpecChanged: func(_, _ *priorityClass) bool { return false },
		UpdateOnly:  true,
	}
}

func validate(c *priorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		if err := checkSystemClass(c); err != nil {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with 'system-' prefix are reserved for system use only. error: "+err.Error()))
		}
	} else if c.Value > HighestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"),
			fmt.Sprintf("maximum allowed value of a user defined priority is %d", HighestUserPriority)))
	}
	policy := field.NewPath("preemptionPolicy")
	if c.PreemptionPolicy == nil || *c.PreemptionPolicy == "" {
		return append(errs, field.Required(policy, ""))
	}
	return append(errs, check.OneOf(policy, *c.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
}

func checkSystemClass(c *priorityClass) error {
	for _, s := range SystemClasses() {
		switch {
		case s.Name != c.Name:
		case s.Value != c.Value:
			return fmt.Errorf("value of %v PriorityClass must be %v", s.Name, s.Value)
		case s.GlobalDefault != c.GlobalDefault:
			return fmt.Errorf("globalDefault of %v PriorityClass must be %v", s.Name, s.GlobalDefault)
		default:
			return nil
		}
	}
	return fmt.Errorf("%v is not a known system priority class", c.Name)
}

func validateUpdate(c, old *priorityClass) field.ErrorList {
	var errs field.ErrorList
	if c.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	return append(errs, apivalidation.ValidateImmutableField(c.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
}

func columns() []metav1.TableColumnDefinition {
	var c priorityClass
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.TypedField("Value", "integer", c, "value"),
		table.TypedField("Global-Default", "boolean", c, "globalDefault"),
		table.Age(),
		table.Field("PreemptionPolicy", c, "preemptionPolicy"),
	}
}

func row(c *priorityClass, now metav1.Time) []any {
	policy := ""
	if c.PreemptionPolicy != nil {
		policy = string(*c.PreemptionPolicy)
	}
	return []any{c.Name, int64(c.Value), c.GlobalDefault, table.Since(c.CreationTimestamp, now), policy}
}
