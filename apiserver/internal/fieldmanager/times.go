package fieldmanager

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

// KeepTimes gives obj the managedFields of live when the two objects differ in
// nothing but the times in them, so that a write that changes nothing is not
// stored. Call it once obj is what would be stored.
func KeepTimes(live, obj scheme.Object) {
	before, after := live.GetManagedFields(), obj.GetManagedFields()
	if sameTimes(before, after) || !sameButTimes(before, after) {
		return
	}
	if equality.Semantic.DeepEqualWithNilDifferentFromEmpty(withoutManagedFields(live), withoutManagedFields(obj)) {
		obj.SetManagedFields(before)
	}
}

func sameTimes(a, b []metav1.ManagedFieldsEntry) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.ManagedFieldsEntry) bool { return seconds(x.Time) == seconds(y.Time) })
}

// withoutManagedFields is a shallow copy.
func withoutManagedFields(obj scheme.Object) scheme.Object {
	v := reflect.New(reflect.TypeOf(obj).Elem())
	v.Elem().Set(reflect.ValueOf(obj).Elem())
	out := v.Interface().(scheme.Object)
	out.SetManagedFields(nil)
	return out
}

func sameButTimes(a, b []metav1.ManagedFieldsEntry) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.ManagedFieldsEntry) bool {
		return identity(&x) == identity(&y) && x.FieldsType == y.FieldsType && bytes.Equal(rawFields(&x), rawFields(&y))
	})
}

// manager identifies an entry: one manager may have one entry for each.
// Appliers have one over all versions, which the callers see to.
type manager struct {
	name, version, subresource string
	operation                  metav1.ManagedFieldsOperationType
}

func identity(e *metav1.ManagedFieldsEntry) manager {
	return manager{e.Manager, e.APIVersion, e.Subresource, e.Operation}
}

func rawFields(e *metav1.ManagedFieldsEntry) []byte {
	if e.FieldsV1 == nil {
		return nil
	}
	return e.FieldsV1.GetRawBytes()
}

// sortEntries puts entries in the order in which they are stored: appliers
// first, then by time (whole seconds, none first), then by name.
func sortEntries(entries []metav1.ManagedFieldsEntry) {
	slices.SortStableFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(
			cmp.Compare(a.Operation, b.Operation),
			cmp.Compare(seconds(a.Time), seconds(b.Time)),
			cmp.Compare(a.Manager, b.Manager),
			cmp.Compare(a.APIVersion, b.APIVersion),
			cmp.Compare(a.Subresource, b.Subresource),
		)
	})
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}
