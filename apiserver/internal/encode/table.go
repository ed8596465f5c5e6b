package encode

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func parseKind(apiVersion, kind string) schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(apiVersion, kind)
}

// metaKind is a kind of meta.k8s.io at the format's version.
func (f Format) metaKind(kind string) schema.GroupVersionKind {
	gvk := schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: kind}
	if f.Beta {
		gvk.Version = "v1beta1"
	}
	return gvk
}

var objectDoc = metav1.ObjectMeta{}.SwaggerDoc()

var defaultColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: objectDoc["name"]},
	{Name: "Created At", Type: "date", Description: objectDoc["creationTimestamp"]},
}

// table makes the Table of structs of the storage type.
func (e *Encoder) table(f Format, objs []runtime.Object, meta metav1.ListMeta) (*metav1.Table, error) {
	t := &metav1.Table{ListMeta: meta, Rows: make([]metav1.TableRow, 0, len(objs))}
	t.SetGroupVersionKind(f.metaKind("Table"))
	if !f.NoColumns {
		t.ColumnDefinitions = e.columns()
	}
	now := metav1.Now()
	for _, o := range objs {
		r := metav1.TableRow{Cells: e.row(o, now)}
		if e.res.RowConditions != nil {
			r.Conditions = e.res.RowConditions(o)
		}
		if err := e.include(&r, f, o); err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}

func (e *Encoder) include(r *metav1.TableRow, f Format, o runtime.Object) error {
	var shown runtime.Object
	var err error
	switch f.Include {
	case IncludeNone:
		return nil
	case IncludeObject:
		shown, err = e.convert(o)
	default:
		shown, err = partial(f, o)
	}
	if err != nil {
		return err
	}
	r.Object.Raw, err = json.Marshal(shown)
	return err
}

func defaultRow(obj runtime.Object, _ metav1.Time) []any {
	m, ok := obj.(metav1.Object)
	if !ok {
		return []any{"", nil}
	}
	return []any{m.GetName(), m.GetCreationTimestamp().UTC().Format(time.RFC3339)}
}

// partial is an object's metadata.
func partial(f Format, obj runtime.Object) (*metav1.PartialObjectMetadata, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", obj)
	}
	p := &metav1.PartialObjectMetadata{}
	if a, ok := obj.(metav1.ObjectMetaAccessor); ok {
		if meta, ok := a.GetObjectMeta().(*metav1.ObjectMeta); ok {
			p.ObjectMeta = *meta
			p.SetGroupVersionKind(f.metaKind("PartialObjectMetadata"))
			return p, nil
		}
	}
	copyMeta(&p.ObjectMeta, m)
	p.SetGroupVersionKind(f.metaKind("PartialObjectMetadata"))
	return p, nil
}

func copyMeta(dst *metav1.ObjectMeta, m metav1.Object) {
	*dst = metav1.ObjectMeta{
		Name: m.GetName(), GenerateName: m.GetGenerateName(), Namespace: m.GetNamespace(), SelfLink: m.GetSelfLink(),
		UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(), Generation: m.GetGeneration(),
		CreationTimestamp: m.GetCreationTimestamp(), DeletionTimestamp: m.GetDeletionTimestamp(),
		DeletionGracePeriodSeconds: m.GetDeletionGracePeriodSeconds(), Labels: m.GetLabels(), Annotations: m.GetAnnotations(),
		OwnerReferences: m.GetOwnerReferences(), Finalizers: m.GetFinalizers(), ManagedFields: m.GetManagedFields(),
	}
}
