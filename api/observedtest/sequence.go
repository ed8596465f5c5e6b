package observedtest

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

// RunSequences replays whole conversations against an object store that is
// only a map: POST, PUT, merge patches, subresource updates, GET, tables and
// warnings. A conversation stops quietly at the first step that needs a
// server (other patch types, admission, conflicts, lists).
func RunSequences(t *testing.T, s *scheme.Scheme, o Options, files ...string) {
	t.Helper()
	kinds := map[string]bool{}
	for _, k := range o.Kinds {
		kinds[k] = true
	}
	ran := 0
	for _, file := range files {
		cases, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if o.Skip[c.ID] != "" {
				continue
			}
			m := memory{scheme: s, kinds: kinds, options: o, objects: map[string]runtime.Object{}}
			t.Run(c.ID, func(t *testing.T) {
				n := m.replay(t, &c)
				ran += n
				if n == 0 {
					t.Skip("nothing to replay without a server")
				}
			})
		}
	}
	if ran == 0 {
		t.Fatal("no recorded step matched")
	}
	t.Logf("%d steps", ran)
}

type memory struct {
	scheme  *scheme.Scheme
	kinds   map[string]bool
	options Options
	objects map[string]runtime.Object
}

const replayNamespace = "r0123456789"

// answer is what a step gives; nil means it can't be told here.
type answer struct {
	code     int
	body     any
	warnings []string
}

func (m *memory) replay(t *testing.T, c *Case) (steps int) {
	for i := range c.Steps {
		if i >= len(c.Observed) {
			return steps
		}
		step, want := &c.Steps[i], &c.Observed[i]
		r, sub, name, ok := m.locate(step.Path)
		if !ok {
			return steps
		}
		mine := len(m.kinds) == 0 || m.kinds[r.Kind]
		if want.Code >= 400 && want.Code != 422 {
			continue // changes nothing
		}
		if step.Do == "DELETE" {
			delete(m.objects, m.key(r, name))
			continue
		}
		a := m.step(r, sub, name, step)
		if a == nil {
			return steps
		}
		if mine && (step.Accept == "" || step.Accept == "application/json" || strings.Contains(step.Accept, "as=Table")) {
			steps++
			if r.At.Deprecated != "" {
				a.warnings = append([]string{r.At.Deprecated}, a.warnings...)
			}
			m.compare(t, step, a, want)
		}
	}
	return steps
}

func (m *memory) locate(path string) (r scheme.Served, sub, name string, ok bool) {
	if strings.Contains(path, "?") {
		path, _, _ = strings.Cut(path, "?")
	}
	p := strings.Split(strings.Trim(path, "/"), "/")
	var gvr schema.GroupVersionResource
	switch {
	case len(p) > 2 && p[0] == "api":
		gvr.Version, p = p[1], p[2:]
	case len(p) > 3 && p[0] == "apis":
		gvr.Group, gvr.Version, p = p[1], p[2], p[3:]
	default:
		return
	}
	if p[0] == "namespaces" && len(p) > 2 {
		p = p[2:]
	}
	gvr.Resource = p[0]
	if len(p) > 1 {
		name = strings.ReplaceAll(p[1], "$NS", replayNamespace)
	}
	if len(p) > 2 {
		sub = p[2]
	}
	r, ok = m.scheme.At(gvr)
	return r, sub, name, ok && (r.At.New == nil || r.At.Decode != nil) && r.StoragePrefix != ""
}

func (m *memory) key(r scheme.Served, name string) string { return r.StoragePrefix + "/" + name }

func (m *memory) step(r scheme.Served, sub, name string, step *Step) *answer {
	if strings.Contains(step.Path, "?") && !strings.HasSuffix(step.Path, "includeObject=None") {
		return nil
	}
	switch {
	case step.Do == "GET" && name != "":
		return m.get(r, sub, name, step)
	case step.Do == "GET" && strings.Contains(step.Accept, "as=Table"):
		return m.list(r)
	case step.Do == "POST" && name == "":
		obj, err := decode(r, step.Body)
		if err != nil {
			return nil
		}
		return m.create(r, obj, step)
	case step.Do == "PUT":
		obj, err := decode(r, step.Body)
		old := m.objects[m.key(r, name)]
		if err != nil || old == nil {
			return nil
		}
		return m.update(r, sub, obj, old, step)
	case step.Do == "PATCH" && step.Type == "application/merge-patch+json":
		old := m.objects[m.key(r, name)]
		if old == nil {
			return nil
		}
		obj, err := decode(r, mergePatch(toJSON(shown(r, old)), step.Body))
		if err != nil {
			return nil
		}
		return m.update(r, sub, obj, old, step)
	}
	return nil
}

func decode(r scheme.Served, body any) (runtime.Object, error) {
	text, _ := json.Marshal(body)
	obj := r.New()
	if r.At.New != nil {
		obj = r.At.New()
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "$NS", replayNamespace)), obj); err != nil {
		return nil, err
	}
	if r.At.New != nil {
		if r.At.Default != nil {
			r.At.Default(obj)
		}
		var err error
		if obj, err = r.At.Decode(obj); err != nil {
			return nil, err
		}
	}
	if r.Strategy.Default != nil {
		r.Strategy.Default(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return obj, nil
}

// shown is obj at the version of the request.
func shown(r scheme.Served, obj runtime.Object) runtime.Object {
	if r.At.Encode == nil {
		return obj
	}
	out, err := r.At.Encode(obj.(scheme.Object))
	if err != nil {
		return obj
	}
	return out
}

// stored is obj as it comes back from storage, where empty lists are gone.
func stored(r scheme.Served, obj runtime.Object) runtime.Object {
	b, err := obj.(scheme.Message).Marshal()
	if err != nil {
		return obj
	}
	back := r.New()
	if err := back.(scheme.Message).Unmarshal(b); err != nil {
		return obj
	}
	if r.Strategy.Default != nil {
		r.Strategy.Default(back)
	}
	back.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return back
}

func (m *memory) context(step *Step, sub string) scheme.Context {
	u := scheme.UserInfo{Name: "admin", Groups: []string{"system:masters", "system:authenticated"}}
	if step.User != "" {
		u = scheme.UserInfo{Name: strings.ReplaceAll(step.User, "$NS", replayNamespace), Groups: step.Groups}
	}
	return scheme.Context{User: u, Now: metav1.Now().Rfc3339Copy(), Subresource: sub}
}

func (m *memory) create(r scheme.Served, obj runtime.Object, step *Step) *answer {
	st := &r.Strategy
	meta := obj.(metav1.Object)
	meta.SetNamespace("") // which the server does with kinds of the cluster
	if r.Namespaced {
		meta.SetNamespace(replayNamespace)
	}
	if meta.GetName() == "" && meta.GetGenerateName() != "" {
		meta.SetName(meta.GetGenerateName() + "abcde")
	}
	meta.SetUID("12345678-1234-1234-1234-123456789012")
	meta.SetCreationTimestamp(metav1.NewTime(time.Now()))
	meta.SetResourceVersion("")
	if st.PrepareCreate != nil {
		st.PrepareCreate(m.context(step, ""), obj)
	}
	if st.SpecChanged != nil {
		meta.SetGeneration(1)
	}
	var errs field.ErrorList
	if !st.OwnMetadata {
		errs = r.ValidateMetadata(meta)
	}
	if validate := r.CreateRule(); validate != nil {
		errs = append(errs, validate(obj)...)
	}
	if len(errs) > 0 {
		return refused(r, meta, errs)
	}
	a := &answer{code: 201}
	if st.WarnCreate != nil {
		a.warnings = st.WarnCreate(obj)
	}
	obj = stored(r, obj)
	m.objects[m.key(r, meta.GetName())] = obj
	a.body = shown(r, obj)
	if m.options.Settle != nil {
		settled := obj.DeepCopyObject()
		m.options.Settle(settled)
		m.objects[m.key(r, meta.GetName())] = settled
	}
	return a
}

func (m *memory) update(r scheme.Served, sub string, obj, old runtime.Object, step *Step) *answer {
	st := r.Strategy.UpdateStrategy
	if sub != "" {
		s := r.Subresource(sub)
		if s == nil || s.Update == nil {
			return nil
		}
		st = *s.Update
	}
	meta, oldMeta := obj.(metav1.Object), old.(metav1.Object)
	if meta.GetUID() == "" {
		meta.SetUID(oldMeta.GetUID())
	}
	meta.SetCreationTimestamp(oldMeta.GetCreationTimestamp())
	meta.SetGeneration(oldMeta.GetGeneration())
	meta.SetResourceVersion("1")
	if r.Namespaced {
		meta.SetNamespace(replayNamespace)
	}
	pristine := old.DeepCopyObject()
	pristine.(metav1.Object).SetResourceVersion("1")
	if st.PrepareUpdate != nil {
		st.PrepareUpdate(m.context(step, sub), obj, pristine)
	}
	if sub != "status" && r.Strategy.SpecChanged != nil && r.Strategy.SpecChanged(obj, pristine) {
		meta.SetGeneration(oldMeta.GetGeneration() + 1)
	}
	var errs field.ErrorList
	if !r.Strategy.OwnMetadata {
		errs = r.ValidateMetadataUpdate(meta, pristine.(metav1.Object))
	}
	validate := st.ValidateUpdate
	if sub == "" {
		validate = r.UpdateRule()
	}
	if validate != nil {
		errs = append(errs, validate(obj, pristine)...)
	}
	if len(errs) > 0 {
		return refused(r, meta, errs)
	}
	a := &answer{code: 200}
	if st.WarnUpdate != nil {
		a.warnings = st.WarnUpdate(obj, pristine)
	}
	meta.SetResourceVersion("")
	obj = stored(r, obj)
	m.objects[m.key(r, meta.GetName())] = obj
	a.body = shown(r, obj)
	return a
}

func refused(r scheme.Served, meta metav1.Object, errs field.ErrorList) *answer {
	status := apierrors.NewInvalid(r.GroupVersionKind().GroupKind(), meta.GetName(), errs).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	return &answer{code: 422, body: &status}
}

func (m *memory) get(r scheme.Served, sub, name string, step *Step) *answer {
	obj := m.objects[m.key(r, name)]
	if obj == nil || sub != "" && r.Subresource(sub) == nil {
		return nil
	}
	if strings.Contains(step.Accept, "as=Table") {
		return &answer{code: 200, body: asTable(r, obj)}
	}
	if sub != "" && r.Subresource(sub).Scale != nil {
		return &answer{code: 200, body: scaleOf(r.Subresource(sub).Scale, obj)}
	}
	return &answer{code: 200, body: shown(r, obj)}
}

func scaleOf(s *scheme.Scale, obj runtime.Object) *autoscalingv1.Scale {
	out := &autoscalingv1.Scale{TypeMeta: metav1.TypeMeta{Kind: "Scale", APIVersion: "autoscaling/v1"}}
	meta := obj.(metav1.Object)
	out.Name, out.Namespace = meta.GetName(), meta.GetNamespace()
	out.Spec, out.Status = s.Get(obj)
	return out
}

// list takes every object made so far as selected.
func (m *memory) list(r scheme.Served) *answer {
	var names []string
	for key := range m.objects {
		if strings.HasPrefix(key, m.key(r, "")) {
			names = append(names, key)
		}
	}
	sort.Strings(names)
	var all []runtime.Object
	for _, key := range names {
		all = append(all, m.objects[key])
	}
	return &answer{code: 200, body: asTable(r, all...)}
}

func asTable(r scheme.Served, objects ...runtime.Object) any {
	columns, rows := r.Columns, []any{}
	if columns == nil {
		rows = nil // as Kubernetes' plain tables are without objects
		doc := metav1.ObjectMeta{}.SwaggerDoc()
		columns = []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: doc["name"]},
			{Name: "Created At", Type: "date", Description: doc["creationTimestamp"]},
		}
	}
	for _, obj := range objects {
		meta := obj.(metav1.Object)
		cells := []any{meta.GetName(), meta.GetCreationTimestamp().UTC().Format(time.RFC3339)}
		if r.Row != nil {
			cells = r.Row(obj, metav1.Now())
		}
		rows = append(rows, map[string]any{"cells": cells})
	}
	return map[string]any{
		"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{},
		"columnDefinitions": columns, "rows": rows,
	}
}

func (m *memory) compare(t *testing.T, step *Step, a *answer, want *Observed) {
	t.Helper()
	s := *step
	s.Ignore = append(append([]string{}, step.Ignore...), m.options.Ignore...)
	wantBody := Normal(want.Body, replayNamespace, &s, nil)
	gotBody := Normal(toJSON(a.body), replayNamespace, &s, nil)
	if table, ok := gotBody.(map[string]any); ok && table["kind"] == "Table" {
		dropRowObjects(wantBody)
	}
	var diff []string
	if a.code != want.Code {
		diff = append(diff, fmt.Sprintf("code %d, want %d: %s / want %s", a.code, want.Code, brief(gotBody), brief(wantBody)))
	} else {
		diff = Differences(wantBody, gotBody, "")
	}
	diff = append(diff, warningDifferences(a.warnings, want.Warning)...)
	if len(diff) > 0 {
		t.Errorf("%s %s %s\n  %s", step.Do, step.Path, brief(step.Body), strings.Join(diff, "\n  "))
	}
}

func dropRowObjects(table any) {
	t, _ := table.(map[string]any)
	rows, _ := t["rows"].([]any)
	for _, r := range rows {
		if row, ok := r.(map[string]any); ok {
			delete(row, "object")
		}
	}
}

// warningDifferences leaves out the decoder's warnings, which are not the
// strategy's.
func warningDifferences(got, want []string) []string {
	var expected []string
	for _, w := range want {
		text := strings.TrimPrefix(w, "299 - ")
		var s string
		if json.Unmarshal([]byte(text), &s) != nil {
			s = text
		}
		if !strings.HasPrefix(s, "unknown field") && !strings.HasPrefix(s, "duplicate field") {
			expected = append(expected, strings.ReplaceAll(s, "$NS", replayNamespace))
		}
	}
	// The recorder has sorted them.
	got = append([]string{}, got...)
	sort.Strings(got)
	if strings.Join(got, "\n") == strings.Join(expected, "\n") {
		return nil
	}
	return []string{fmt.Sprintf("warnings %q, want %q", got, expected)}
}

func toJSON(x any) any {
	text, _ := json.Marshal(x)
	var v any
	_ = json.Unmarshal(text, &v)
	return v
}

// mergePatch applies RFC 7396.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for k, v := range t {
			out[k] = v
		}
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = mergePatch(out[k], v)
		}
	}
	return out
}
