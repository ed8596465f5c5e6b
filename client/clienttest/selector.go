package clienttest

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// selector is a Selection that has been parsed.
type selector struct {
	resource        *scheme.Resource
	namespace, name string
	labels          labels.Selector
	fields          fields.Selector
}

func newSelector(r *scheme.Resource, q *pb.Selection) (*selector, error) {
	s := &selector{resource: r, namespace: q.GetNamespace(), name: q.GetName()}
	if s.namespace != "" && !r.Namespaced {
		return nil, apierrors.NewBadRequest("namespace must not be provided on cluster-scoped objects")
	}
	var err error
	if s.labels, err = labels.Parse(q.GetLabelSelector()); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if s.fields, err = fields.ParseSelector(q.GetFieldSelector()); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	for _, f := range s.fields.Requirements() {
		if !s.knows(f.Field) {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", f.Field))
		}
	}
	return s, nil
}

func (s *selector) knows(label string) bool {
	if label == "metadata.name" || label == "metadata.namespace" {
		return true
	}
	for i := range s.resource.Fields {
		if s.resource.Fields[i].Label == label {
			return true
		}
	}
	return false
}

func (s *selector) matches(o *stored) bool {
	if o == nil || s.namespace != "" && o.obj.GetNamespace() != s.namespace || s.name != "" && o.obj.GetName() != s.name {
		return false
	}
	if !s.labels.Matches(labels.Set(o.obj.GetLabels())) {
		return false
	}
	return s.fields.Empty() || s.fields.Matches(s.values(o.obj))
}

func (s *selector) values(obj scheme.Object) fields.Set {
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return set
	}
	for i := range s.resource.Fields {
		f := &s.resource.Fields[i]
		paths := f.Path
		if len(paths) == 0 {
			paths = []string{f.Label}
		}
		value := ""
		for _, p := range paths {
			if value = at(tree, p); value != "" {
				break
			}
		}
		if value == "" {
			value = f.IfEmpty
		}
		set[f.Label] = value
	}
	return set
}

func at(tree map[string]any, path string) string {
	var v any = tree
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
