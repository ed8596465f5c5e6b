package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// Names without a prefix are Kubernetes' own; these sets say which it knows.
var (
	quotaNames = nameSet(
		"cpu", "memory", "ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
		"limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
		"persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
	)
	countedNames = nameSet(
		"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
		"persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
	)
)

func nameSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// isQuotaName takes the unprefixed names that a quota may limit.
func isQuotaName(name string) bool {
	return quotaNames[name] || isHugePages(corev1.ResourceName(strings.TrimPrefix(name, corev1.DefaultResourceRequestsPrefix)))
}

// isNativeName takes names without a prefix and those of kubernetes.io.
func isNativeName(name string) bool {
	return !strings.Contains(name, "/") || strings.Contains(name, corev1.ResourceDefaultNamespacePrefix)
}

// isExtendedName takes the fully qualified names of others' resources, for
// which "requests."+name must be a name too.
func isExtendedName(name string) bool {
	return !isNativeName(name) && !strings.HasPrefix(name, corev1.DefaultResourceRequestsPrefix) &&
		len(utilvalidation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+name)) == 0
}

// isWholeNumberName says which resources are counted in whole units.
func isWholeNumberName(name string) bool { return countedNames[name] || isExtendedName(name) }

// validateResourceName checks the name of any resource.
func validateResourceName(name string, path *field.Path) field.ErrorList {
	if errs := check.QualifiedName(path, name); len(errs) > 0 {
		return errs
	}
	if !strings.Contains(name, "/") && !isQuotaName(name) && name != string(corev1.ResourceStorage) {
		return field.ErrorList{field.Invalid(path, name, "must be a standard resource type or fully qualified")}
	}
	return nil
}

func validateQuotaName(name string, path *field.Path) field.ErrorList {
	errs := validateResourceName(name, path)
	if !strings.Contains(name, "/") && !isQuotaName(name) {
		errs = append(errs, field.Invalid(path, name, "must be a standard resource for quota"))
	}
	return errs
}

// validateContainerResourceName checks the name of what a container can have.
func validateContainerResourceName(name string, path *field.Path) field.ErrorList {
	errs := validateResourceName(name, path)
	switch {
	case !strings.Contains(name, "/"):
		if !isContainerResource(corev1.ResourceName(name)) {
			errs = append(errs, field.Invalid(path, name, "must be a standard resource for containers"))
		}
	case !isNativeName(name) && !isExtendedName(name):
		errs = append(errs, field.Invalid(path, name, "doesn't follow extended resource name standard"))
	}
	return errs
}

func isContainerResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return isHugePages(name)
}

// allowsOvercommit is false for what can't be shared: huge pages and the
// resources of others.
func allowsOvercommit(name corev1.ResourceName) bool {
	return isNativeName(string(name)) && !isHugePages(name)
}

// validateAmount checks a quantity of a named resource: not negative, and
// whole where only whole units exist.
func validateAmount(name corev1.ResourceName, q resource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be greater than or equal to 0"))
	}
	if q.MilliValue()%1000 != 0 && isWholeNumberName(string(name)) {
		errs = append(errs, field.Invalid(path, q, "must be an integer"))
	}
	return errs
}

// validateCapacity checks a storage size.
func validateCapacity(q resource.Quantity, path *field.Path) field.ErrorList {
	if q.Value() < 0 {
		return field.ErrorList{field.Invalid(path, q.Value(), "must be a valid resource quantity")}
	}
	return nil
}

func validatePositive(q resource.Quantity, path *field.Path) field.ErrorList {
	if q.Sign() <= 0 {
		return field.ErrorList{field.Invalid(path, q.String(), "must be greater than zero")}
	}
	return nil
}
