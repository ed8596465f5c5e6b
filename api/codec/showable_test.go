package codec_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/api/codec"
)

func TestUnmarshalShowable(t *testing.T) {
	fields := func(raw string) []metav1.ManagedFieldsEntry {
		f := &metav1.FieldsV1{}
		f.SetRawBytes([]byte(raw))
		return []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: f}}
	}
	probe := func(kind intstr.Type) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Port: intstr.IntOrString{Type: kind, StrVal: "web"}}}}}}}}
	}
	multiple := math.NaN()
	half := 0.5
	schema := func(s apiextensionsv1.JSONSchemaProps) *apiextensionsv1.CustomResourceDefinition {
		nested := apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": {AllOf: []apiextensionsv1.JSONSchemaProps{s}}}}
		return &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &nested}}}}}
	}
	for name, test := range map[string]struct {
		obj message
		ok  bool
	}{
		"empty":                     {&corev1.Pod{}, true},
		"fields":                    {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{ManagedFields: fields(`{"f:a":{}}`)}}, true},
		"fields that are no JSON":   {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{ManagedFields: fields(`{"f:a":`)}}, false},
		"a port":                    {probe(intstr.String), true},
		"a port of no type":         {probe(7), false},
		"a revision":                {&appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(`{"a":1}`)}}, true},
		"a revision that is no map": {&appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(`{a`)}}, false},
		"a schema":                  {schema(apiextensionsv1.JSONSchemaProps{MultipleOf: &half}), true},
		"a multiple of nothing":     {schema(apiextensionsv1.JSONSchemaProps{MultipleOf: &multiple}), false},
		"a default that is no JSON": {schema(apiextensionsv1.JSONSchemaProps{Default: &apiextensionsv1.JSON{Raw: []byte("{")}}), false},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := test.obj.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			into := reflect.New(reflect.TypeOf(test.obj).Elem()).Interface().(message)
			err = codec.UnmarshalShowable(raw, into)
			if (err == nil) != test.ok {
				t.Errorf("the error is %v", err)
			}
			if _, marshal := json.Marshal(into); (marshal == nil) != (err == nil) {
				t.Errorf("the error is %v, that of encoding/json %v", err, marshal)
			}
		})
	}
}

// TestShowableIsMarshalable changes bytes of encoded objects: what decodes is
// showable if and only if encoding/json makes JSON of it.
func TestShowableIsMarshalable(t *testing.T) {
	port := intstr.FromInt32(80)
	f := &metav1.FieldsV1{}
	f.SetRawBytes([]byte(`{"f:spec":{"f:x":{}}}`))
	meta := metav1.ObjectMeta{Name: "a", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: f}}}
	random := rand.New(rand.NewPCG(3, 4))
	shown, hidden := 0, 0
	for _, obj := range []message{
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: port}}}},
		&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: &port}}}}}},
		&admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "u", Object: runtime.RawExtension{Raw: []byte(`{"a":[1,2]}`)}}},
	} {
		raw, err := obj.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for range 5_000 {
			changed := append([]byte(nil), raw...)
			changed[random.IntN(len(changed))] = byte(random.IntN(256))
			into := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(message)
			if into.Unmarshal(changed) != nil {
				continue
			}
			_, want := json.Marshal(into)
			got := codec.UnmarshalShowable(changed, reflect.New(reflect.TypeOf(obj).Elem()).Interface().(message))
			if (want == nil) != (got == nil) {
				t.Fatalf("%q: %v, encoding/json says %v", changed, got, want)
			}
			if got == nil {
				shown++
			} else {
				hidden++
			}
		}
	}
	if shown < 500 || hidden < 30 {
		t.Errorf("%d shown, %d hidden: too few to tell", shown, hidden)
	}
}
