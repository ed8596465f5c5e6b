package v1

import (
	"encoding/hex"
	"testing"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func full() *APIService {
	port := int32(443)
	return &APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.example.com"},
		Spec: APIServiceSpec{
			Service: &ServiceReference{Namespace: "n", Name: "s", Port: &port}, Group: "example.com", Version: "v1",
			CABundle: []byte("ca"), GroupPriorityMinimum: 1000, VersionPriority: 15,
		},
		Status: APIServiceStatus{Conditions: []APIServiceCondition{{
			Type: "Available", Status: "False", LastTransitionTime: metav1.NewTime(time.Unix(1700000000, 0)), Reason: "R", Message: "m",
		}}},
	}
}

// golden is what Kubernetes' generated code makes of full.
const golden = "0a1e0a0e76312e6578616d706c652e636f6d12001a0022002a0032003800420012270a090a016e12017318bb03120b6578616d706c652e636f6d" +
	"1a02763120002a02636138e807400f1a240a220a09417661696c61626c65120546616c73651a080880e2cfaa0610002201522a016d"

func TestWire(t *testing.T) {
	s := full()
	b, err := s.Marshal()
	if err != nil || hex.EncodeToString(b) != golden || s.Size() != len(b) {
		t.Fatalf("%x, %v, want %s", b, err, golden)
	}
	var back APIService
	if err := back.Unmarshal(b); err != nil || !apiequality.Semantic.DeepEqual(&back, s) {
		t.Errorf("%+v, %v", back, err)
	}
	l := &APIServiceList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []APIService{*s, {}}}
	if b, err = l.Marshal(); err != nil || len(b) != l.Size() {
		t.Fatal(len(b), l.Size(), err)
	}
	var list APIServiceList
	if err := list.Unmarshal(b); err != nil || !apiequality.Semantic.DeepEqual(&list, l) {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.MarshalToSizedBuffer(make([]byte, s.Size()-1)); err == nil {
		t.Error("a short buffer is enough")
	}
	// Numbers below zero take ten bytes, as everywhere in protobuf.
	s.Spec.VersionPriority = -1
	if b, err = s.Marshal(); err != nil || len(b) != s.Size() || back.Unmarshal(b) != nil || back.Spec.VersionPriority != -1 {
		t.Errorf("%x, %v", b, err)
	}
}

func TestCopy(t *testing.T) {
	s := full()
	c := s.DeepCopy()
	c.Spec.CABundle[0], *c.Spec.Service.Port, c.Status.Conditions[0].Status = 'x', 1, "True"
	if !apiequality.Semantic.DeepEqual(s, full()) {
		t.Error("the copy shares memory")
	}
	l := &APIServiceList{Items: []APIService{*s}}
	l.DeepCopyObject().(*APIServiceList).Items[0].Spec.CABundle[0] = 'x'
	if s.Spec.CABundle[0] == 'x' {
		t.Error("the list's copy shares memory")
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, _ := hex.DecodeString(golden)
	f.Add(b)
	f.Add([]byte{0x12, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s APIService
		if s.Unmarshal(b) != nil {
			return
		}
		again, err := s.Marshal()
		if err != nil || len(again) != s.Size() {
			t.Fatalf("%d bytes, said %d: %v", len(again), s.Size(), err)
		}
		var back APIService
		if err := back.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
	})
}
