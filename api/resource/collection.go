package resource

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateList checks the length and the items; a negative max is no limit.
func validateList[T any](items []T, max int, item func(*T, *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if max >= 0 && len(items) > max {
		errs = append(errs, field.TooMany(path, len(items), max))
	}
	for i := range items {
		errs = append(errs, item(&items[i], path.Index(i))...)
	}
	return errs
}

// validateSet is validateList of items with keys of their own. Duplicates are
// told after everything else.
func validateSet[T any, K comparable](items []T, max int, item func(*T, *field.Path) field.ErrorList, key func(*T) K, show func(K) any, path *field.Path) field.ErrorList {
	errs := validateList(items, max, item, path)
	seen := make(map[K]bool, len(items))
	for i := range items {
		k := key(&items[i])
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Index(i), show(k)))
		}
		seen[k] = true
	}
	return errs
}

func asIs[K any](k K) any { return k }

// validateMap tells of a bad key at the map, and of a bad value at the key.
func validateMap[K ~string, V any](m map[K]V, max int, key func(K, *field.Path) field.ErrorList, value func(*V, *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if max >= 0 && len(m) > max {
		errs = append(errs, field.TooMany(path, len(m), max))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		errs = append(errs, key(k, path)...)
		v := m[k]
		errs = append(errs, value(&v, path.Key(string(k)))...)
	}
	return errs
}
