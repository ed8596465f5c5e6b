package state

import (
	"fmt"
	"strconv"
	"sync"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client/cache"
)

// Packed is an object as it is kept: what is needed of it, encoded. Most are
// looked at once, and decoded they take ten times the room.
type Packed struct {
	namespace unique.Handle[string]
	name      string
	revision  int64
	// service that a slice belongs to.
	service string
	// trigger is when what changed in a slice happened, in Unix nanoseconds; 0
	// where that is not known.
	trigger int64
	// endpoints of a slice.
	endpoints int
	// decoded is a slice that has just come: it is taken out when it is looked
	// at, which it soon is, by State alone.
	decoded *discoveryv1.EndpointSlice
	raw     []byte
}

// GetNamespace, GetName, GetUID and GetResourceVersion implement cache.Item.
// No two states of objects have a resource version in common.
func (p *Packed) GetNamespace() string       { return p.namespace.Value() }
func (p *Packed) GetName() string            { return p.name }
func (p *Packed) GetUID() types.UID          { return "" }
func (p *Packed) GetResourceVersion() string { return strconv.FormatInt(p.revision, 10) }

// serviceKey is what the slice belongs to.
func (p *Packed) serviceKey() (cache.Key, bool) {
	return cache.Key{Namespace: p.GetNamespace(), Name: p.service}, p.service != ""
}

func pack(meta *metav1.ObjectMeta, needed interface{ Marshal() ([]byte, error) }) *Packed {
	raw, err := needed.Marshal()
	if err != nil {
		panic(fmt.Sprintf("state: an object that was decoded can't be encoded: %v", err))
	}
	revision, err := strconv.ParseInt(meta.ResourceVersion, 10, 64)
	if err != nil {
		revision = 0 // never the same as another
	}
	return &Packed{namespace: unique.Make(meta.Namespace), name: meta.Name, revision: revision, raw: raw}
}

func packService(s *corev1.Service) *Packed {
	spec := s.Spec
	spec.Selector = nil
	return pack(&s.ObjectMeta, &corev1.Service{Spec: spec, Status: corev1.ServiceStatus{LoadBalancer: s.Status.LoadBalancer}})
}

// asService is the Service again; its labels have gone.
func (p *Packed) asService() (*corev1.Service, error) {
	s := &corev1.Service{}
	if err := s.Unmarshal(p.raw); err != nil {
		return nil, fmt.Errorf("decode service %s/%s: %w", p.GetNamespace(), p.name, err)
	}
	s.Namespace, s.Name = p.GetNamespace(), p.name
	return s, nil
}

// lastTrigger says since when an endpoint is what it is.
const lastTrigger = "endpoints.kubernetes.io/last-change-trigger-time"

// arrays of endpoints are used again: a slice is decoded for each change, and
// to make its array anew, by doubling, was a quarter of the garbage.
var arrays = sync.Pool{New: func() any { return new([16]discoveryv1.Endpoint) }}

func newSlice() *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{Endpoints: arrays.Get().(*[16]discoveryv1.Endpoint)[:0]}
}

// recycle takes the array back of a slice that nobody looks at any more.
func recycle(s *discoveryv1.EndpointSlice) {
	if all := s.Endpoints; cap(all) == 16 {
		s.Endpoints = nil
		a := (*[16]discoveryv1.Endpoint)(all[:16])
		clear(a[:])
		arrays.Put(a)
	}
}

// packSlice keeps what a node needs of a slice, which is changed: of endpoints
// elsewhere their address, conditions and hints. One that is looked at soon
// stays decoded.
func packSlice(s *discoveryv1.EndpointSlice, node string, soon bool) *Packed {
	kept := &discoveryv1.EndpointSlice{AddressType: s.AddressType, Ports: s.Ports, Endpoints: s.Endpoints[:0]}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if len(e.Addresses) == 0 {
			continue
		}
		x := discoveryv1.Endpoint{Addresses: e.Addresses[:1], Conditions: e.Conditions, Hints: e.Hints}
		if e.NodeName != nil && *e.NodeName == node {
			x.NodeName, x.TargetRef = e.NodeName, e.TargetRef
		}
		kept.Endpoints = append(kept.Endpoints, x)
	}
	p := pack(&s.ObjectMeta, kept)
	p.endpoints = len(kept.Endpoints)
	p.service = s.Labels[discoveryv1.LabelServiceName]
	if text := s.Annotations[lastTrigger]; text != "" {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			p.trigger = at.UnixNano()
		}
	}
	if soon && p.service != "" {
		kept.Namespace, kept.Name = s.Namespace, s.Name
		p.decoded = kept
		return p
	}
	recycle(kept)
	return p
}

// asSlice is the EndpointSlice again.
func (p *Packed) asSlice() (*discoveryv1.EndpointSlice, error) {
	if s := p.decoded; s != nil {
		p.decoded = nil
		return s, nil
	}
	s := &discoveryv1.EndpointSlice{Endpoints: make([]discoveryv1.Endpoint, 0, p.endpoints)}
	if err := s.Unmarshal(p.raw); err != nil {
		return nil, fmt.Errorf("decode endpoint slice %s/%s: %w", p.GetNamespace(), p.name, err)
	}
	s.Namespace, s.Name = p.GetNamespace(), p.name
	return s, nil
}
