package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Get reads one object. resourceVersion "" is fresh, "0" is what the cache
// has, N is not older than N.
func (r *Registry) Get(ctx context.Context, t Target, resourceVersion string) (*storage.Object, error) {
	if t.IsComponents() {
		return r.component(ctx, t)
	}
	match, rev := storage.Fresh, int64(0)
	if resourceVersion != "" {
		var err error
		if rev, err = plainVersion(resourceVersion); err != nil {
			return nil, err
		}
		match = storage.NotOlderThan
		if rev == 0 {
			match = storage.Any
		}
	}
	o, err := r.Store.Collection(t.Resource).Get(ctx, t.Namespace, t.Name, match, rev)
	return o, Status(err, t.groupResource(), t.Name)
}

// List reads a snapshot.
func (r *Registry) List(ctx context.Context, t Target, o *metav1.ListOptions) (*storage.List, error) {
	if t.IsComponents() {
		return r.components(ctx, o)
	}
	opts := storage.ListOptions{Limit: o.Limit, Continue: o.Continue}
	var err error
	if opts.Selection, err = t.selection(o); err != nil {
		return nil, err
	}
	if errs := validateListVersion(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(listOptionsKind, "", errs)
	}
	if opts.Match, opts.Revision, err = listRevision(o); err != nil {
		return nil, err
	}
	l, err := r.Store.Collection(t.Resource).List(ctx, opts)
	return l, Status(err, t.groupResource(), "")
}

// Watch starts a cursor.
func (r *Registry) Watch(ctx context.Context, t Target, o *metav1.ListOptions) (storage.Watcher, error) {
	opts := storage.WatchOptions{Bookmarks: o.AllowWatchBookmarks}
	var err error
	if opts.Selection, err = t.selection(o); err != nil {
		return nil, err
	}
	if errs := validateWatchVersion(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(listOptionsKind, "", errs)
	}
	if o.ResourceVersion != "" {
		if opts.Revision, err = plainVersion(o.ResourceVersion); err != nil {
			return nil, err
		}
		opts.Match = storage.NotOlderThan
		if opts.Revision == 0 {
			opts.Match = storage.Any
		}
	}
	if o.SendInitialEvents != nil {
		opts.InitialEvents = *o.SendInitialEvents
		if !opts.InitialEvents && opts.Revision == 0 {
			// Start at the newest revision without the current objects.
			if opts.Revision, err = r.Store.CurrentRevision(ctx); err != nil {
				return nil, Status(err, t.groupResource(), "")
			}
			opts.Match = storage.NotOlderThan
		}
	}
	w, err := r.Store.Collection(t.Resource).Watch(ctx, opts)
	return w, Status(err, t.groupResource(), "")
}

// Subscribe starts a cursor for a component: after a revision, or with the
// current objects first, then a bookmark marked InitialEventsEnd.
func (r *Registry) Subscribe(ctx context.Context, t Target, o *metav1.ListOptions, after int64) (storage.Watcher, error) {
	opts := storage.WatchOptions{Bookmarks: true, Complete: true, Revision: after, Match: storage.NotOlderThan}
	var err error
	if opts.Selection, err = t.selection(o); err != nil {
		return nil, err
	}
	if after == 0 {
		opts.InitialEvents, opts.Match = true, storage.Fresh
	}
	w, err := r.Store.Collection(t.Resource).Watch(ctx, opts)
	return w, Status(err, t.groupResource(), "")
}

var listOptionsKind = metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind()

func (t *Target) groupResource() (gr gr) {
	gr.Group, gr.Resource = t.At.Group, t.Plural
	return gr
}

func listRevision(o *metav1.ListOptions) (storage.Match, int64, error) {
	if o.ResourceVersion == "" {
		return storage.Fresh, 0, nil
	}
	rev, err := listVersion(o.ResourceVersion)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case o.Continue != "":
		if rev != 0 {
			return 0, 0, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		return storage.Fresh, 0, nil
	case o.ResourceVersionMatch == metav1.ResourceVersionMatchExact:
		return storage.Exact, rev, nil
	case rev == 0:
		return storage.Any, 0, nil
	case o.Limit > 0 && o.ResourceVersionMatch == "":
		// A limit with a version and no match has always meant that version.
		return storage.Exact, rev, nil
	}
	return storage.NotOlderThan, rev, nil
}

// validateListVersion and validateWatchVersion are the rules of ListOptions
// for resourceVersionMatch and sendInitialEvents.
func validateListVersion(o *metav1.ListOptions) field.ErrorList {
	errs := validateMatch(o)
	if o.SendInitialEvents != nil {
		errs = append(errs, field.Forbidden(field.NewPath("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
	}
	return errs
}

func validateMatch(o *metav1.ListOptions) field.ErrorList {
	var errs field.ErrorList
	path, match := field.NewPath("resourceVersionMatch"), o.ResourceVersionMatch
	if match == "" {
		return nil
	}
	if o.ResourceVersion == "" {
		errs = append(errs, field.Forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
	}
	if o.Continue != "" {
		errs = append(errs, field.Forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
	}
	if match != metav1.ResourceVersionMatchExact && match != metav1.ResourceVersionMatchNotOlderThan {
		errs = append(errs, field.NotSupported(path, match, []string{string(metav1.ResourceVersionMatchExact), string(metav1.ResourceVersionMatchNotOlderThan), ""}))
	}
	if match == metav1.ResourceVersionMatchExact && o.ResourceVersion == "0" {
		errs = append(errs, field.Forbidden(path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
	}
	return errs
}

func validateWatchVersion(o *metav1.ListOptions) field.ErrorList {
	var errs field.ErrorList
	path, match := field.NewPath("resourceVersionMatch"), o.ResourceVersionMatch
	if o.Continue != "" {
		errs = append(errs, field.Forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
	}
	if o.SendInitialEvents == nil {
		if match != "" {
			errs = append(errs, field.Forbidden(path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
		}
	} else if match != metav1.ResourceVersionMatchNotOlderThan {
		errs = append(errs, field.Forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
	}
	if match != "" && match != metav1.ResourceVersionMatchNotOlderThan {
		errs = append(errs, field.NotSupported(path, match, []string{string(metav1.ResourceVersionMatchNotOlderThan)}))
	}
	return errs
}

// selection turns the selectors of a list or watch into requirements on the
// index entry of each object.
func (t *Target) selection(o *metav1.ListOptions) (storage.Selection, error) {
	s := storage.Selection{Namespace: t.Namespace, Name: t.Name}
	if o.LabelSelector != "" {
		sel, err := labels.Parse(o.LabelSelector)
		if err != nil {
			return s, apierrors.NewBadRequest(err.Error())
		}
		if !sel.Empty() {
			s.Labels = sel
		}
	}
	if o.FieldSelector == "" {
		return s, nil
	}
	sel, err := fields.ParseSelector(o.FieldSelector)
	if err != nil {
		return s, apierrors.NewBadRequest(err.Error())
	}
	for _, q := range sel.Requirements() {
		index, err := t.fieldIndex(q.Field)
		if err != nil {
			return s, err
		}
		not := strings.HasPrefix(string(q.Operator), "!")
		switch {
		case index == storage.IndexName && !not && t.Name != "" && t.Name != q.Value:
			return s, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
		case index == storage.IndexName && !not && s.Name == "":
			s.Name = q.Value
		case index == storage.IndexNamespace && !not && s.Namespace == "" && t.Namespaced:
			s.Namespace = q.Value
		default:
			s.Fields = append(s.Fields, storage.FieldRequirement{Index: index, Value: q.Value, Not: not})
		}
	}
	return s, nil
}

func (t *Target) fieldIndex(label string) (int, error) {
	fields := t.Fields
	if t.At.Fields != nil {
		fields = t.At.Fields
	}
	i := slices.IndexFunc(fields, func(f scheme.SelectableField) bool { return f.Label == label })
	switch {
	case i >= 0 && t.At.Fields == nil:
		return i, nil
	case i >= 0:
		return t.storedField(fields[i])
	case label == "metadata.name":
		return storage.IndexName, nil
	case label == "metadata.namespace" && (t.Namespaced || len(fields) == 0):
		return storage.IndexNamespace, nil
	case len(fields) > 0:
		return 0, apierrors.NewBadRequest(t.UnknownFieldLabel(label))
	}
	return 0, unknownField(label)
}

func unknownField(label string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("%q is not a known field selector: only %q, %q", label, "metadata.name", "metadata.namespace"))
}

// storedField finds the storage version's field with the same path as a
// field of another version.
func (t *Target) storedField(f scheme.SelectableField) (int, error) {
	path := func(f scheme.SelectableField) string {
		if len(f.Path) > 0 {
			return strings.Join(f.Path, "|")
		}
		return f.Label
	}
	i := slices.IndexFunc(t.Fields, func(s scheme.SelectableField) bool { return path(s) == path(f) })
	if i < 0 {
		return 0, apierrors.NewBadRequest("field label not supported: " + f.Label)
	}
	return i, nil
}
