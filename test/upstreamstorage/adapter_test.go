package upstreamstorage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	upstream "k8s.io/apiserver/pkg/storage"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

var (
	types     = runtime.NewScheme()
	versioner = upstream.APIObjectVersioner{}
)

func init() {
	metav1.AddToGroupVersion(types, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(types))
	utilruntime.Must(examplev1.AddToScheme(types))
}

// pods are upstream's example pods as a resource of ours.
func pods(namespaced bool) *scheme.Resource {
	return &scheme.Resource{
		Group: examplev1.SchemeGroupVersion.Group, Version: "v1", Kind: "Pod", Plural: "pods", StoragePrefix: "pods",
		Namespaced: namespaced,
		New:        func() runtime.Object { return new(examplev1.Pod) },
		Fields:     []scheme.SelectableField{{Label: "spec.nodeName"}},
	}
}

// adapter is upstream's storage.Interface over a collection of ours.
type adapter struct {
	upstream.Interface // panics for what no test here calls

	c          storage.Collection
	namespaced bool
	revision   func(context.Context) (int64, error)
}

func (a *adapter) Versioner() upstream.Versioner { return versioner }

func (a *adapter) ReadinessCheck() error { return nil }

func (a *adapter) GetCurrentResourceVersion(ctx context.Context) (uint64, error) {
	r, err := a.revision(ctx)
	return uint64(r), err
}

// raw is what we store of an object: its form without a resourceVersion.
func raw(obj runtime.Object) ([]byte, error) {
	obj = obj.DeepCopyObject()
	if err := versioner.PrepareObjectForStorage(obj); err != nil {
		return nil, fmt.Errorf("PrepareObjectForStorage failed: %w", err)
	}
	var pod examplev1.Pod
	if err := types.Convert(obj, &pod, nil); err != nil {
		return nil, err
	}
	return pod.Marshal()
}

// decode fills out with a stored object.
func decode(o *storage.Object, revision int64, out runtime.Object) error {
	var pod examplev1.Pod
	if err := pod.Unmarshal(o.Raw); err != nil {
		return err
	}
	types.Default(&pod)
	reset(out)
	if err := types.Convert(&pod, out, nil); err != nil {
		return err
	}
	return versioner.UpdateObject(out, uint64(revision))
}

func reset(out runtime.Object) {
	v := reflect.ValueOf(out).Elem()
	v.Set(reflect.Zero(v.Type()))
}

// names takes a key of upstream's apart: /pods/NAMESPACE/NAME.
func (a *adapter) names(key string, prefix bool) (namespace, name string, err error) {
	key, err = upstream.PrepareKey("/pods/", key, prefix)
	if err != nil {
		return "", "", err
	}
	rest := strings.TrimSuffix(strings.TrimPrefix(key, "/pods/"), "/")
	if !a.namespaced {
		return "", rest, nil
	}
	namespace, name, _ = strings.Cut(rest, "/")
	return namespace, name, nil
}

// nothing is a name that no object has.
const nothing = "/"

// listed is what a list or watch of a key selects: below a prefix, whose
// last part is a namespace, or exactly one object.
func (a *adapter) listed(key string, recursive bool) (namespace, name string, err error) {
	namespace, name, err = a.names(key, recursive)
	if recursive == (name != "") {
		name = nothing // an object has nothing below it, a namespace is no object
	}
	return namespace, name, err
}

// match is the meaning of a resourceVersion.
func match(rv string, m metav1.ResourceVersionMatch) (storage.Match, int64, error) {
	n, err := versioner.ParseResourceVersion(rv)
	switch {
	case err != nil:
		return 0, 0, err
	case rv == "":
		return storage.Fresh, 0, nil
	case m == metav1.ResourceVersionMatchExact:
		return storage.Exact, int64(n), nil
	case n == 0:
		return storage.Any, 0, nil
	}
	return storage.NotOlderThan, int64(n), nil
}

// The beginnings of what the registry says of these.
const (
	expiredPage = "The provided continue parameter is too old to display a consistent list result."
	expiredList = "The resourceVersion for the provided list is too old."
)

// translate makes upstream's error of one of ours.
func translate(err error, key string) error {
	var large *storage.TooLargeRevision
	var exists *storage.Exists
	var conflict *storage.Conflict
	var page *storage.ExpiredContinue
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return upstream.NewKeyNotFoundError(key, 0)
	case errors.As(err, &exists):
		return upstream.NewKeyExistsError(key, 0)
	case errors.As(err, &conflict):
		return upstream.NewResourceVersionConflictsError(key, 0)
	case errors.As(err, &large):
		return upstream.NewTooLargeResourceVersionError(uint64(large.Requested), uint64(large.Current), 1)
	case errors.As(err, &page):
		e := apierrors.NewResourceExpired(expiredPage)
		e.ErrStatus.Continue = page.Continue
		return e
	case errors.Is(err, storage.ErrExpired):
		return apierrors.NewResourceExpired(expiredList)
	case errors.Is(err, storage.ErrInvalidContinue):
		return apierrors.NewBadRequest(err.Error())
	}
	return err
}

func (a *adapter) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	if rv, err := versioner.ObjectResourceVersion(obj); err == nil && rv != 0 {
		return upstream.ErrResourceVersionSetOnCreate
	}
	namespace, name, err := a.names(key, false)
	if err != nil {
		return err
	}
	value, err := raw(obj)
	if err != nil {
		return err
	}
	o, err := a.c.Create(ctx, namespace, name, value, time.Duration(ttl)*time.Second)
	if err != nil || out == nil {
		return translate(err, key)
	}
	return decode(o, o.Revision, out)
}

func (a *adapter) Get(ctx context.Context, key string, opts upstream.GetOptions, out runtime.Object) error {
	namespace, name, err := a.names(key, false)
	if err != nil {
		return err
	}
	m, revision, err := match(opts.ResourceVersion, "")
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	o, err := a.c.Get(ctx, namespace, name, m, revision)
	if errors.Is(err, storage.ErrNotFound) && opts.IgnoreNotFound {
		reset(out)
		return nil
	}
	if err != nil {
		return translate(err, key)
	}
	return decode(o, o.Revision, out)
}

// current is the object to begin a change with: the caller's suggestion, if
// it is what is stored, or a fresh read. An absent object is nil.
func (a *adapter) current(ctx context.Context, namespace, name string, suggested runtime.Object) (*storage.Object, bool, error) {
	if o := a.suggestion(namespace, name, suggested); o != nil {
		return o, true, nil
	}
	o, err := a.c.Get(ctx, namespace, name, storage.Fresh, 0)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, false, nil
	}
	return o, false, err
}

// suggestion is an object as our storage would have it. Its bytes are judged
// by its revision when it is written.
func (a *adapter) suggestion(namespace, name string, suggested runtime.Object) *storage.Object {
	if suggested == nil || reflect.ValueOf(suggested).IsNil() {
		return nil
	}
	revision, err := versioner.ObjectResourceVersion(suggested)
	if err != nil || revision == 0 {
		return nil
	}
	value, err := raw(suggested)
	if err != nil {
		return nil
	}
	return &storage.Object{Namespace: namespace, Name: name, Revision: int64(revision), Raw: value}
}

func (a *adapter) Delete(ctx context.Context, key string, out runtime.Object, preconditions *upstream.Preconditions,
	validate upstream.ValidateObjectFunc, suggested runtime.Object, _ upstream.DeleteOptions) error {
	namespace, name, err := a.names(key, false)
	if err != nil {
		return err
	}
	o, stale, err := a.current(ctx, namespace, name, suggested)
	for {
		switch {
		case err != nil:
			return translate(err, key)
		case o == nil:
			return upstream.NewKeyNotFoundError(key, 0)
		}
		if err = a.check(ctx, key, o, preconditions, validate, out); err == nil {
			var revision int64
			if revision, err = a.c.Delete(ctx, o); err == nil {
				return decode(o, revision, out)
			}
			var conflict *storage.Conflict
			if errors.As(err, &conflict) {
				o, stale, err = conflict.Current, false, nil
				continue
			}
		}
		if !stale {
			return translate(err, key)
		}
		// The refusal may be due to the suggestion.
		old := o.Revision
		refusal := err
		if o, stale, err = a.current(ctx, namespace, name, nil); o != nil && o.Revision == old {
			return translate(refusal, key)
		}
	}
}

func (a *adapter) check(ctx context.Context, key string, o *storage.Object, preconditions *upstream.Preconditions, validate upstream.ValidateObjectFunc, out runtime.Object) error {
	obj := out.DeepCopyObject()
	if err := decode(o, o.Revision, obj); err != nil {
		return err
	}
	if err := preconditions.Check(key, obj); err != nil {
		return err
	}
	return validate(ctx, obj)
}

func (a *adapter) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, ignoreNotFound bool,
	preconditions *upstream.Preconditions, try upstream.UpdateFunc, suggested runtime.Object) error {
	namespace, name, err := a.names(key, false)
	if err != nil {
		return err
	}
	o, stale, err := a.current(ctx, namespace, name, suggested)
	for {
		if err != nil {
			return translate(err, key)
		}
		if o == nil && !ignoreNotFound {
			return upstream.NewKeyNotFoundError(key, 0)
		}
		var stored *storage.Object
		stored, err = a.tryUpdate(ctx, key, namespace, name, o, stale, preconditions, try, out)
		var conflict *storage.Conflict
		var exists *storage.Exists
		switch {
		case err == nil:
			return decode(stored, stored.Revision, out)
		case errors.As(err, &conflict):
			o, stale, err = conflict.Current, false, nil
		case errors.As(err, &exists):
			o, stale, err = exists.Object, false, nil
		case stale:
			old, refusal := o.Revision, err
			if o, stale, err = a.current(ctx, namespace, name, nil); o != nil && o.Revision == old {
				return translate(refusal, key)
			}
		default:
			return translate(err, key)
		}
	}
}

func (a *adapter) tryUpdate(ctx context.Context, key, namespace, name string, o *storage.Object, stale bool,
	preconditions *upstream.Preconditions, try upstream.UpdateFunc, out runtime.Object) (*storage.Object, error) {
	old := reflect.New(reflect.TypeOf(out).Elem()).Interface().(runtime.Object)
	var state upstream.ResponseMeta
	if o != nil {
		if err := decode(o, o.Revision, old); err != nil {
			return nil, err
		}
		state.ResourceVersion = uint64(o.Revision)
	}
	if err := preconditions.Check(key, old); err != nil {
		return nil, err
	}
	next, ttl, err := try(old, state)
	if err != nil {
		return nil, err
	}
	value, err := raw(next)
	if err != nil {
		return nil, err
	}
	var live time.Duration
	if ttl != nil {
		live = time.Duration(*ttl) * time.Second
	}
	switch {
	case o == nil:
		return a.c.Create(ctx, namespace, name, value, live)
	case !bytes.Equal(value, o.Raw) || o.Stale:
		return a.c.Update(ctx, o, value, live)
	case stale:
		// Only what is stored may be answered without a write.
		fresh, err := a.c.Get(ctx, namespace, name, storage.Fresh, 0)
		if err != nil {
			return nil, err
		}
		if fresh.Revision != o.Revision {
			return nil, &storage.Conflict{Current: fresh}
		}
		return fresh, nil
	}
	return o, nil
}

// selectionOf says what of a predicate our selections can say.
func (a *adapter) selectionOf(namespace, name string, p upstream.SelectionPredicate) (storage.Selection, error) {
	s := storage.Selection{Namespace: namespace, Name: name}
	if p.Label != nil && !p.Label.Empty() {
		s.Labels = p.Label
	}
	if p.Field == nil {
		return s, nil
	}
	for _, r := range p.Field.Requirements() {
		i, ok := map[string]int{"spec.nodeName": 0, "metadata.name": storage.IndexName, "metadata.namespace": storage.IndexNamespace}[r.Field]
		if !ok {
			return s, fmt.Errorf("no selectable field %s", r.Field)
		}
		s.Fields = append(s.Fields, storage.FieldRequirement{Index: i, Value: r.Value, Not: r.Operator == selection.NotEquals})
	}
	return s, nil
}

func (a *adapter) GetList(ctx context.Context, key string, opts upstream.ListOptions, out runtime.Object) error {
	namespace, name, err := a.listed(key, opts.Recursive)
	if err != nil {
		return err
	}
	if _, _, err := upstream.ValidateListOptions("/pods/", versioner, opts); err != nil && opts.Predicate.Continue == "" {
		return err
	}
	o := storage.ListOptions{Limit: opts.Predicate.Limit, Continue: opts.Predicate.Continue}
	if o.Selection, err = a.selectionOf(namespace, name, opts.Predicate); err != nil {
		return err
	}
	if o.Match, o.Revision, err = match(opts.ResourceVersion, opts.ResourceVersionMatch); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if opts.Recursive && opts.Predicate.Limit > 0 && opts.ResourceVersionMatch == "" && o.Match == storage.NotOlderThan {
		o.Match = storage.Exact // as the REST layer does
	}
	if o.Continue != "" && opts.ResourceVersion != "" && opts.ResourceVersion != "0" {
		return apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
	}
	if o.Continue != "" {
		o.Match, o.Revision = storage.Fresh, 0
	}
	l, err := a.c.List(ctx, o)
	if err != nil {
		return translate(err, key)
	}
	items, err := meta.GetItemsPtr(out)
	if err != nil {
		return err
	}
	v := reflect.ValueOf(items).Elem()
	v.Set(reflect.MakeSlice(v.Type(), 0, len(l.Objects)))
	for _, o := range l.Objects {
		item := reflect.New(v.Type().Elem())
		if err := decode(o, o.Revision, item.Interface().(runtime.Object)); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item.Elem()))
	}
	return versioner.UpdateList(out, uint64(l.Revision), l.Continue, l.Remaining)
}

func formatRevision(r int64) string { return strconv.FormatInt(r, 10) }
