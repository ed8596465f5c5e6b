package bootstrap

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Leases is where the API servers of a cluster note that they are alive, as
// Kubernetes' do; it is not served.
var Leases = &scheme.Resource{
	Version: "v1", Kind: "Endpoints", Plural: "masterleases", Singular: "masterlease",
	New:           func() runtime.Object { return new(corev1.Endpoints) },
	NewList:       func() runtime.Object { return new(corev1.EndpointsList) },
	StoragePrefix: "masterleases",
}

// A server that has not renewed its lease for LeaseTime is left out of the
// kubernetes Service.
const (
	LeaseTime  = 15 * time.Second
	RenewEvery = 10 * time.Second
)

const serviceName = "kubernetes"

// Cluster is what the kubernetes Service is made of.
type Cluster struct {
	*Maker
	// Address and Port are this server's, as the cluster reaches it.
	Address net.IP
	Port    int32
	// ServiceIP is the first of the primary range; CIDRs are the ranges.
	ServiceIP net.IP
	CIDRs     []string
	// Leased is false when only this server's address counts.
	Leased bool
	// Prolong keeps a lease without a write; false if it is not there as it was.
	Prolong func(ctx context.Context, r *scheme.Resource, o *storage.Object) (bool, error)
}

// ServiceCIDR makes the default ServiceCIDR, and says that it is ready.
func (c *Cluster) ServiceCIDR(ctx context.Context) error {
	obj := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: c.CIDRs},
	}
	created, err := c.Create(ctx, networkingv1.GroupName, "v1", "servicecidrs", obj)
	if err != nil || !created {
		return err
	}
	return c.UpdateStatus(ctx, networkingv1.GroupName, "v1", "servicecidrs", "", serviceName, func(o scheme.Object) {
		o.(*networkingv1.ServiceCIDR).Status.Conditions = []metav1.Condition{{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now(),
			Message: "Kubernetes default Service CIDR is ready",
		}}
	})
}

// Service makes the kubernetes Service and its endpoints.
func (c *Cluster) Service(ctx context.Context) error {
	single := corev1.IPFamilyPolicySingleStack
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: serviceName,
			Labels: map[string]string{"provider": "kubernetes", "component": "apiserver"},
		},
		Spec: corev1.ServiceSpec{
			Ports:           []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(c.Port)}},
			ClusterIP:       c.ServiceIP.String(),
			IPFamilyPolicy:  &single,
			SessionAffinity: corev1.ServiceAffinityNone,
			Type:            corev1.ServiceTypeClusterIP,
		},
	}
	if _, err := c.Create(ctx, "", "v1", "services", s); err != nil {
		return err
	}
	return c.Endpoints(ctx)
}

// Endpoints renews this server's lease and makes the endpoints of the
// kubernetes Service those of all living servers.
//
// A server on loopback alone is no endpoint: pods could not reach it.
func (c *Cluster) Endpoints(ctx context.Context) error {
	if c.Address.IsLoopback() {
		return nil
	}
	living := []string{c.Address.String()}
	if c.Leased {
		renewed, err := c.renew(ctx)
		if err != nil {
			return err
		}
		list, err := c.Registry.Store.Collection(Leases).List(ctx, storage.ListOptions{Match: storage.NotOlderThan, Revision: renewed})
		if err != nil {
			return err
		}
		living = living[:0]
		for _, o := range list.Objects {
			living = append(living, o.Name)
		}
	}
	return c.publish(ctx, living)
}

// renew gives the revision of this server's lease, which it makes if it is not
// there, and otherwise keeps.
func (c *Cluster) renew(ctx context.Context) (int64, error) {
	name := c.Address.String()
	col := c.Registry.Store.Collection(Leases)
	current := col.Newest("", name)
	if current != nil {
		if there, err := c.Prolong(ctx, Leases, current); there || err != nil {
			return current.Revision, err
		}
	}
	e := corev1.Endpoints{Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: name}}}}}
	e.Generation = time.Now().Unix() // each renewal must differ, or it would be no write
	raw, err := e.Marshal()
	if err != nil {
		return 0, err
	}
	for {
		var o *storage.Object
		if current == nil {
			o, err = col.Create(ctx, "", name, raw, LeaseTime)
		} else {
			o, err = col.Update(ctx, current, raw, LeaseTime)
		}
		var exists *storage.Exists
		var conflict *storage.Conflict
		switch {
		case errors.As(err, &exists):
			current = exists.Object
		case errors.As(err, &conflict):
			current = conflict.Current
		case err != nil:
			return 0, err
		default:
			return o.Revision, nil
		}
	}
}

// Leave removes this server from the Service when it stops.
func (c *Cluster) Leave(ctx context.Context) error {
	if !c.Leased {
		return nil
	}
	col := c.Registry.Store.Collection(Leases)
	if current := col.Newest("", c.Address.String()); current != nil {
		if _, err := col.Delete(ctx, current); err != nil {
			return err
		}
	}
	list, err := col.List(ctx, storage.ListOptions{})
	if err != nil || len(list.Objects) == 0 {
		return err // the last one to leave stays known, for who comes back
	}
	var living []string
	for _, o := range list.Objects {
		living = append(living, o.Name)
	}
	return c.publish(ctx, living)
}

func (c *Cluster) publish(ctx context.Context, living []string) error {
	slices.Sort(living)
	var addresses []corev1.EndpointAddress
	for _, ip := range living {
		addresses = append(addresses, corev1.EndpointAddress{IP: ip})
	}
	subsets := []corev1.EndpointSubset{{Addresses: addresses, Ports: []corev1.EndpointPort{{Name: "https", Port: c.Port, Protocol: corev1.ProtocolTCP}}}}
	e := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: serviceName,
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
		},
		Subsets: subsets,
	}
	err := c.Ensure(ctx, "", "v1", "endpoints", e, func(have scheme.Object) { have.(*corev1.Endpoints).Subsets = subsets })
	if err != nil {
		return err
	}
	return c.slice(ctx, living)
}

func (c *Cluster) slice(ctx context.Context, living []string) error {
	yes, name, port, protocol := true, "https", c.Port, corev1.ProtocolTCP
	var endpoints []discoveryv1.Endpoint
	for _, ip := range living {
		endpoints = append(endpoints, discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}})
	}
	ports := []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}}
	family := discoveryv1.AddressTypeIPv4
	if strings.Contains(c.Address.String(), ":") {
		family = discoveryv1.AddressTypeIPv6
	}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: serviceName,
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName},
		},
		AddressType: family, Endpoints: endpoints, Ports: ports,
	}
	return c.Ensure(ctx, discoveryv1.GroupName, "v1", "endpointslices", s, func(have scheme.Object) {
		h := have.(*discoveryv1.EndpointSlice)
		h.Endpoints, h.Ports = endpoints, ports
	})
}

// AuthenticationInfo keeps the ConfigMap from which aggregated servers learn
// whom to believe.
func (m *Maker) AuthenticationInfo(ctx context.Context, data map[string]string) error {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"}, Data: data}
	return m.Ensure(ctx, "", "v1", "configmaps", cm, func(have scheme.Object) {
		h := have.(*corev1.ConfigMap)
		if h.Data == nil {
			h.Data = map[string]string{}
		}
		for k, v := range data {
			h.Data[k] = v
		}
	})
}
