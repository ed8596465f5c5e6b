package scheme

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Context is what a strategy may know about the request beyond the objects.
type Context struct {
	// User is who asks, in the words of authentication.k8s.io.
	User UserInfo
	// Now is the request's time.
	Now metav1.Time
	// Subresource is "" for the main resource.
	Subresource string
	DryRun      bool
}

// UserInfo is the authenticated user of a request.
type UserInfo struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Strategy is what happens to objects of one resource between decoding and
// storage, with types erased; build it from Hooks.
//
// A create runs: Default (right after decoding), admission, PrepareCreate,
// metadata validation, ValidateCreate, WarnCreate. An update runs: Default,
// admission, PrepareUpdate, metadata validation, ValidateUpdate, WarnUpdate.
//
// The caller has by then filled the system metadata (uid, creationTimestamp,
// namespace, generated name) and validates metadata itself with ValidateName;
// hooks do not repeat that. Metadata errors come first in the list, then the
// hook's.
type Strategy struct {
	Default        func(obj runtime.Object)
	PrepareCreate  func(c Context, obj runtime.Object)
	ValidateCreate func(obj runtime.Object) field.ErrorList
	WarnCreate     func(obj runtime.Object) []string
	UpdateStrategy

	// ValidateName checks metadata.name; prefix is true for generateName.
	// Nil means a DNS subdomain.
	ValidateName func(name string, prefix bool) []string
	// OwnMetadata is true when ValidateCreate and ValidateUpdate check
	// metadata themselves and the caller must not.
	OwnMetadata bool

	// UpdateOnly is true for kinds whose update rule does not include their
	// create rule: errors in metadata then show once less.
	UpdateOnly bool

	// SpecChanged decides metadata.generation: nil leaves it alone; otherwise
	// a create sets 1 and an update adds 1 when it returns true.
	SpecChanged func(obj, old runtime.Object) bool

	// CreateOnUpdate allows PUT to create a missing object.
	CreateOnUpdate bool
	// RequireVersion refuses updates without a resourceVersion.
	RequireVersion bool

	// GracePeriod decides how a delete waits: the seconds to wait and true
	// when the object is to be marked and left for its owner to remove. Nil
	// means at once.
	GracePeriod func(obj runtime.Object, o *metav1.DeleteOptions) (seconds int64, graceful bool)
	// WarnDelete gives the warnings of a delete.
	WarnDelete func(obj runtime.Object, o *metav1.DeleteOptions) []string
	// DefaultPropagation is what a delete without propagationPolicy means;
	// "" is Background.
	DefaultPropagation metav1.DeletionPropagation
}

// UpdateStrategy is the update half, for a main resource or a subresource.
type UpdateStrategy struct {
	// PrepareUpdate moves what this endpoint may not change from old to obj.
	PrepareUpdate  func(c Context, obj, old runtime.Object)
	ValidateUpdate func(obj, old runtime.Object) field.ErrorList
	WarnUpdate     func(obj, old runtime.Object) []string
	// ResetFields are the top-level paths that PrepareUpdate takes from old,
	// which server-side apply must not own: "status", "spec",
	// "metadata.labels". A main resource with a status has "status".
	ResetFields []string
}

// Scale gives the autoscaling/v1 Scale of an object and takes one back.
type Scale struct {
	// Get fills spec, status and nothing of the metadata.
	Get func(obj runtime.Object) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus)
	// Set writes spec.replicas.
	Set func(obj runtime.Object, replicas int32)
	// SpecReplicasPath is for managedFields: always "spec.replicas" so far.
	SpecReplicasPath string
}

// Hooks is Strategy with the kind's own type. Nil hooks do nothing.
type Hooks[T any] struct {
	Default        func(obj *T)
	PrepareCreate  func(c Context, obj *T)
	ValidateCreate func(obj *T) field.ErrorList
	WarnCreate     func(obj *T) []string
	PrepareUpdate  func(c Context, obj, old *T)
	ValidateUpdate func(obj, old *T) field.ErrorList
	WarnUpdate     func(obj, old *T) []string
	ResetFields    []string

	ValidateName       func(name string, prefix bool) []string
	OwnMetadata        bool
	UpdateOnly         bool
	SpecChanged        func(obj, old *T) bool
	CreateOnUpdate     bool
	RequireVersion     bool
	GracePeriod        func(obj *T, o *metav1.DeleteOptions) (int64, bool)
	WarnDelete         func(obj *T, o *metav1.DeleteOptions) []string
	DefaultPropagation metav1.DeletionPropagation
}

// Erase makes the Strategy. Erased hooks panic when handed another type.
func (h Hooks[T]) Erase() Strategy {
	return Strategy{
		Default:            erase1(h.Default),
		PrepareCreate:      eraseC1(h.PrepareCreate),
		ValidateCreate:     erase1to(h.ValidateCreate),
		WarnCreate:         erase1to(h.WarnCreate),
		UpdateStrategy:     UpdateHooks[T]{h.PrepareUpdate, h.ValidateUpdate, h.WarnUpdate, h.ResetFields}.Erase(),
		ValidateName:       h.ValidateName,
		OwnMetadata:        h.OwnMetadata,
		UpdateOnly:         h.UpdateOnly,
		SpecChanged:        erase2to(h.SpecChanged),
		CreateOnUpdate:     h.CreateOnUpdate,
		RequireVersion:     h.RequireVersion,
		GracePeriod:        eraseGrace(h.GracePeriod),
		WarnDelete:         eraseWarnDelete(h.WarnDelete),
		DefaultPropagation: h.DefaultPropagation,
	}
}

// UpdateHooks is UpdateStrategy with the kind's own type.
type UpdateHooks[T any] struct {
	PrepareUpdate  func(c Context, obj, old *T)
	ValidateUpdate func(obj, old *T) field.ErrorList
	WarnUpdate     func(obj, old *T) []string
	ResetFields    []string
}

// Erase makes the UpdateStrategy.
func (h UpdateHooks[T]) Erase() UpdateStrategy {
	return UpdateStrategy{
		PrepareUpdate:  eraseC2(h.PrepareUpdate),
		ValidateUpdate: erase2to(h.ValidateUpdate),
		WarnUpdate:     erase2to(h.WarnUpdate),
		ResetFields:    h.ResetFields,
	}
}

// Pointer is Erase as a pointer, for Subresource.Update.
func (h UpdateHooks[T]) Pointer() *UpdateStrategy {
	u := h.Erase()
	return &u
}

// Rows erases a typed row function.
func Rows[T any](row func(obj *T, now metav1.Time) []any) func(runtime.Object, metav1.Time) []any {
	return func(o runtime.Object, now metav1.Time) []any { return row(any(o).(*T), now) }
}

// NewScale erases typed scale accessors.
func NewScale[T any](get func(*T) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus), set func(*T, int32)) *Scale {
	return &Scale{
		Get: func(o runtime.Object) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus) {
			return get(any(o).(*T))
		},
		Set:              func(o runtime.Object, n int32) { set(any(o).(*T), n) },
		SpecReplicasPath: "spec.replicas",
	}
}

func erase1[T any](f func(*T)) func(runtime.Object) {
	if f == nil {
		return nil
	}
	return func(o runtime.Object) { f(any(o).(*T)) }
}

func eraseC1[T any](f func(Context, *T)) func(Context, runtime.Object) {
	if f == nil {
		return nil
	}
	return func(c Context, o runtime.Object) { f(c, any(o).(*T)) }
}

func eraseC2[T any](f func(Context, *T, *T)) func(Context, runtime.Object, runtime.Object) {
	if f == nil {
		return nil
	}
	return func(c Context, o, old runtime.Object) { f(c, any(o).(*T), any(old).(*T)) }
}

func erase1to[T, R any](f func(*T) R) func(runtime.Object) R {
	if f == nil {
		return nil
	}
	return func(o runtime.Object) R { return f(any(o).(*T)) }
}

func erase2to[T, R any](f func(*T, *T) R) func(runtime.Object, runtime.Object) R {
	if f == nil {
		return nil
	}
	return func(o, old runtime.Object) R { return f(any(o).(*T), any(old).(*T)) }
}

func eraseGrace[T any](f func(*T, *metav1.DeleteOptions) (int64, bool)) func(runtime.Object, *metav1.DeleteOptions) (int64, bool) {
	if f == nil {
		return nil
	}
	return func(o runtime.Object, d *metav1.DeleteOptions) (int64, bool) { return f(any(o).(*T), d) }
}

func eraseWarnDelete[T any](f func(*T, *metav1.DeleteOptions) []string) func(runtime.Object, *metav1.DeleteOptions) []string {
	if f == nil {
		return nil
	}
	return func(o runtime.Object, d *metav1.DeleteOptions) []string { return f(any(o).(*T), d) }
}

// NameRule is ValidateName, or a DNS subdomain's rule.
func (s *Strategy) NameRule() func(name string, prefix bool) []string {
	if s.ValidateName != nil {
		return s.ValidateName
	}
	return validation.NameIsDNSSubdomain
}

// RevalidatesMetadata reports whether the kind's update rule includes its
// create rule, and so the metadata's again.
func (s *Strategy) RevalidatesMetadata() bool { return !s.UpdateOnly }
