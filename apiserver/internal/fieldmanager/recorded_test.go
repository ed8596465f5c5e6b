package fieldmanager_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/decode"
	"xebec.dev/apiserver/internal/fieldmanager"
	"xebec.dev/apiserver/internal/patch"
)

// Recorded conversations, replayed over a map with nothing but decoding,
// defaulting, patches and field management: whatever ownership Kubernetes
// showed must come out, and every refusal of a patch as such.
func TestRecordedOwnership(t *testing.T) {
	for _, file := range []string{"machinery-patch-apply.jsonl", "machinery-verbs.jsonl", "core-pod.jsonl", "apps.jsonl"} {
		cases, err := observedtest.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if c.ID == "core/pod/update-tolerations-add" {
				continue // appends to what admission adds
			}
			t.Run(strings.ReplaceAll(c.ID, "/", "_"), func(t *testing.T) { replay(t, c) })
		}
	}
}

type store struct {
	scheme   *scheme.Scheme
	types    *fieldmanager.Types
	managers map[schema.GroupVersionResource]*fieldmanager.Manager
	objects  map[string]scheme.Object
	now      time.Time
}

var shared = struct {
	scheme *scheme.Scheme
	types  *fieldmanager.Types
}{builtin.Scheme(), fieldmanager.NewTypes()}

func replay(t *testing.T, c observedtest.Case) {
	s := &store{
		scheme: shared.scheme, types: shared.types, objects: map[string]scheme.Object{},
		managers: map[schema.GroupVersionResource]*fieldmanager.Manager{}, now: time.Unix(1e9, 0),
	}
	for i, step := range c.Steps {
		s.now = s.now.Add(time.Second)
		want := c.Observed[i]
		obj, err := s.do(step)
		if errors.Is(err, errSkip) {
			t.Skip(err)
		}
		status, refused := want.Body.(map[string]any)
		if refused = refused && status["kind"] == "Status" && want.Code >= 400; refused {
			if err == nil {
				// Refused by validation, preconditions or admission, which are not here.
				delete(s.objects, step.Path)
				return
			}
			checkRefusal(t, step, want.Code, status, err)
			continue
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if step.Managed && obj != nil && !ignores(step, "metadata") {
			checkManaged(t, i, obj, want.Body)
		}
	}
}

func ignores(s observedtest.Step, field string) bool {
	for _, i := range s.Ignore {
		if i == field {
			return true
		}
	}
	return false
}

var errSkip = errors.New("not a plain object request")

func (s *store) do(step observedtest.Step) (scheme.Object, error) {
	u, err := url.Parse(strings.ReplaceAll(step.Path, "$NS", "ns"))
	if err != nil {
		return nil, errSkip
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 3 {
		return nil, errSkip
	}
	gvr := schema.GroupVersionResource{Version: parts[1]}
	rest := parts[2:]
	if parts[0] == "apis" && len(parts) > 3 {
		gvr.Group, gvr.Version, rest = parts[1], parts[2], parts[3:]
	}
	namespace := ""
	if len(rest) > 2 && rest[0] == "namespaces" && rest[2] != "status" && rest[2] != "finalize" {
		namespace, rest = rest[1], rest[2:]
	}
	if len(rest) == 0 {
		return nil, errSkip
	}
	gvr.Resource = rest[0]
	served, ok := s.scheme.At(gvr)
	if !ok || len(rest) > 2 && rest[2] != "status" {
		return nil, errSkip
	}
	m := s.managers[gvr]
	if m == nil {
		m = fieldmanager.New(served, s.types)
		s.managers[gvr] = m
	}
	agent := "replay"
	if step.Agent != nil {
		agent = *step.Agent
	}
	r := &request{store: s, step: step, served: served, m: m, namespace: namespace, q: u.Query()}
	r.manager = fieldmanager.Name(r.q.Get("fieldManager"), agent)
	if step.Body != nil {
		r.body = body(step)
	}
	if len(rest) > 1 {
		r.name = rest[1]
	}
	if len(rest) > 2 {
		r.sub = rest[2]
		if sub := served.Subresource(r.sub); sub == nil || sub.Update == nil || sub.Update.PrepareUpdate == nil {
			return nil, errSkip
		}
	}
	return r.do()
}

func body(step observedtest.Step) []byte {
	if s, ok := step.Body.(string); ok {
		return []byte(strings.ReplaceAll(s, "$NS", "ns"))
	}
	b, _ := json.Marshal(step.Body)
	return []byte(strings.ReplaceAll(string(b), "$NS", "ns"))
}

type request struct {
	store           *store
	step            observedtest.Step
	served          scheme.Served
	m               *fieldmanager.Manager
	namespace, name string
	sub, manager    string
	q               url.Values
	body            []byte
}

func (r *request) key() string { return r.served.Plural + "/" + r.namespace + "/" + r.name }

func (r *request) do() (scheme.Object, error) {
	live := r.store.objects[r.key()]
	validation := r.q.Get("fieldValidation")
	if !slices.Contains([]string{"", decode.Ignore, decode.Warn, decode.Strict}, validation) {
		return nil, errSkip
	}
	switch r.step.Do {
	case "GET":
		if live == nil {
			return nil, errSkip
		}
		return live, nil
	case "POST":
		obj, err := r.decoded(validation)
		if err != nil {
			return nil, err
		}
		if err := r.m.Create(obj, r.manager, r.store.now); err != nil {
			return nil, err
		}
		obj.SetUID("u")
		obj.SetNamespace(r.namespace)
		if p := r.served.Strategy.PrepareCreate; p != nil {
			p(scheme.Context{Now: metav1.NewTime(r.store.now)}, obj)
		}
		r.name = obj.GetName()
		return r.put(obj)
	case "PUT":
		obj, err := r.decoded(validation)
		if err != nil || live == nil {
			return nil, errors.Join(err, skipIf(live == nil))
		}
		return r.update(live, obj)
	case "PATCH":
		return r.patch(live, validation)
	}
	return nil, errSkip
}

func skipIf(b bool) error {
	if b {
		return errSkip
	}
	return nil
}

func (r *request) decoded(validation string) (scheme.Object, error) {
	obj, _, err := decode.Body(r.served, r.step.Type, r.body, validation)
	if err != nil {
		return nil, errSkip
	}
	o, ok := obj.(scheme.Object)
	if !ok {
		return nil, errSkip
	}
	return o, nil
}

func (r *request) patch(live scheme.Object, validation string) (scheme.Object, error) {
	if r.step.Type == string(types.ApplyYAMLPatchType) {
		if r.q.Get("fieldManager") == "" || len(r.manager) > 128 {
			return nil, errSkip
		}
		force := r.q.Get("force")
		obj, err := r.m.Apply(live, r.body, r.manager, force != "" && force != "false", r.sub, r.store.now)
		if err != nil {
			return nil, err
		}
		if err := r.checkMeta(obj); err != nil {
			return nil, err
		}
		if live == nil {
			obj.SetUID("u")
		}
		return r.put(obj)
	}
	if live == nil {
		return nil, errSkip
	}
	r.step.Type, _, _ = strings.Cut(r.step.Type, ";")
	if !strings.Contains(r.step.Type, "patch+") {
		return nil, errSkip
	}
	obj, _, err := patch.Apply(types.PatchType(r.step.Type), r.served, live, r.body, validation)
	if err != nil {
		return nil, err
	}
	if err := r.checkMeta(obj); err != nil {
		return nil, err
	}
	return r.update(live, obj)
}

func (r *request) checkMeta(obj scheme.Object) error {
	switch {
	case obj.GetName() == "":
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", r.name))
	case obj.GetName() != r.name:
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), r.name))
	case obj.GetNamespace() != "" && obj.GetNamespace() != r.namespace:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

func (r *request) update(live, obj scheme.Object) (scheme.Object, error) {
	if obj.GetUID() == "" {
		obj.SetUID(live.GetUID())
	}
	obj.SetNamespace(live.GetNamespace())
	obj.SetCreationTimestamp(live.GetCreationTimestamp())
	if err := r.m.Update(live, obj, r.manager, r.sub, r.store.now); err != nil {
		return nil, err
	}
	prepare := r.served.Strategy.PrepareUpdate
	if r.sub != "" {
		prepare = r.served.Subresource(r.sub).Update.PrepareUpdate
	}
	if prepare != nil {
		prepare(scheme.Context{Now: metav1.NewTime(r.store.now), Subresource: r.sub}, obj, live)
	}
	return r.put(obj)
}

func (r *request) put(obj scheme.Object) (scheme.Object, error) {
	if r.q.Get("dryRun") == "" {
		r.store.objects[r.key()] = obj.DeepCopyObject().(scheme.Object)
	}
	return obj, nil
}

func checkRefusal(t *testing.T, step observedtest.Step, code int, want map[string]any, err error) {
	t.Helper()
	if step.Do != "PATCH" {
		return
	}
	got := metav1.Status{Code: 500, Message: err.Error()}
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		got = s.Status()
	}
	if int(got.Code) != code {
		t.Errorf("%s %v: code %d (%v), want %d %v", step.Path, step.Body, got.Code, got.Message, code, want["message"])
	}
	if m, ok := want["message"].(string); ok && inWordsOf137(m) != strings.ReplaceAll(got.Message, "ns", "ns") {
		t.Errorf("%s %v\n got %q\nwant %q", step.Path, step.Body, got.Message, m)
	}
	if details, ok := want["details"].(map[string]any); ok && details["causes"] != nil && got.Details != nil && !ignores(step, "details.causes") && !ignores(step, "details.causes.message") {
		if have := plain(got.Details.Causes); !reflect.DeepEqual(have, details["causes"]) {
			t.Errorf("causes %v, want %v", have, details["causes"])
		}
	}
}

// inWordsOf137 is how v1.37 refuses what is no patch; v1.36 was recorded.
func inWordsOf137(message string) string {
	if rest, ok := strings.CutPrefix(message, "error decoding YAML: "); ok {
		return "error decoding patch: " + rest
	}
	for _, malformed := range []string{"unexpected end of JSON input", "invalid character 'd' looking for beginning of value"} {
		if message == malformed || message == "error decoding patch: "+malformed {
			return "invalid JSON patch"
		}
	}
	return message
}

func plain(v any) any {
	b, _ := json.Marshal(v)
	var out any
	_ = json.Unmarshal(b, &out)
	return out
}

func checkManaged(t *testing.T, step int, obj scheme.Object, want any) {
	t.Helper()
	meta, _ := want.(map[string]any)["metadata"].(map[string]any)
	if meta == nil {
		return
	}
	var wanted []any
	if m, ok := meta["managedFields"].([]any); ok {
		wanted = m
	}
	var got []any
	for _, e := range obj.GetManagedFields() {
		e.Time = nil
		got = append(got, plain(e))
	}
	if a, b := text(sorted(got)), strings.ReplaceAll(text(sorted(wanted)), "$NS", "ns"); a != b {
		t.Errorf("step %d: managedFields\n got %s\nwant %s", step, a, b)
	}
}

// sorted ignores the order, in which the recording's times are hidden.
func sorted(entries []any) []any {
	slices.SortFunc(entries, func(a, b any) int { return strings.Compare(text(a), text(b)) })
	return entries
}

func text(v any) string {
	if l, ok := v.([]any); ok && len(l) == 0 {
		v = nil
	}
	b, _ := json.Marshal(v)
	return string(b)
}
