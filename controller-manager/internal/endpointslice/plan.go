package endpointslice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/pod"
)

// ManagedBy is the value of the label of this controller's slices.
const ManagedBy = "endpointslice-controller.k8s.io"

const triggerKey = corev1.EndpointsLastChangeTriggerTime

// Plan is what to do about a service's slices.
type Plan struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
	// Missing are nodes of pods that are not known yet; their pods are left
	// out.
	Missing []string
	// Sharing is how endpoints are shared among zones, by families, where the
	// service wants that by capacity.
	Sharing []Sharing
}

func (p Plan) String() string {
	var b strings.Builder
	for _, g := range []struct {
		verb   string
		slices []*discoveryv1.EndpointSlice
	}{{"create", p.Create}, {"update", p.Update}, {"delete", p.Delete}} {
		for _, s := range g.slices {
			fmt.Fprintf(&b, "%s %s %s ports=%s", g.verb, cmp.Or(s.Name, "-"), s.AddressType, portKey(s.Ports))
			if g.verb != "delete" {
				for i := range s.Endpoints {
					fmt.Fprintf(&b, " %s", describe(&s.Endpoints[i]))
				}
			}
			b.WriteString("\n")
		}
	}
	for _, n := range p.Missing {
		fmt.Fprintf(&b, "missing node %s\n", n)
	}
	for _, s := range p.Sharing {
		fmt.Fprintf(&b, "hints=%t %s\n", s.OK, s.Message)
	}
	return b.String()
}

func describe(e *discoveryv1.Endpoint) string {
	s := e.Addresses[0]
	for _, c := range []struct {
		name string
		is   *bool
	}{{"ready", e.Conditions.Ready}, {"serving", e.Conditions.Serving}, {"terminating", e.Conditions.Terminating}} {
		if c.is != nil && *c.is {
			s += "," + c.name
		}
	}
	if e.Zone != nil {
		s += ",zone=" + *e.Zone
	}
	if e.Hostname != nil {
		s += ",host=" + *e.Hostname
	}
	if e.Hints != nil {
		for _, z := range e.Hints.ForZones {
			s += ",for=" + z.Name
		}
		for _, n := range e.Hints.ForNodes {
			s += ",for=" + n.Name
		}
	}
	return s
}

// observed is what a plan is made of.
type observed struct {
	svc    *corev1.Service
	pods   []*corev1.Pod
	node   func(name string) *corev1.Node
	slices []*discoveryv1.EndpointSlice
	// most is how many endpoints a slice may have.
	most int
	// trigger is when what changed has changed; zero is unknown.
	trigger time.Time
	// capacity of the zones, for services that want to know it.
	capacity capacity
}

// Group are the endpoints that have the same ports.
type Group struct {
	Ports     []discoveryv1.EndpointPort
	Endpoints map[string]discoveryv1.Endpoint
}

// Groups are by their ports.
type Groups map[string]*Group

// Add puts an endpoint with its ports.
func (g Groups) Add(ports []discoveryv1.EndpointPort, e discoveryv1.Endpoint) {
	k := portKey(ports)
	if g[k] == nil {
		g[k] = &Group{Ports: ports, Endpoints: map[string]discoveryv1.Endpoint{}}
	}
	g[k].Endpoints[endpointKey(&e)] = e
}

// Desired is what slices should hold, and what they should look like.
type Desired struct {
	Families []discoveryv1.AddressType
	Groups   func(discoveryv1.AddressType) Groups
	// Placeholder keeps an empty slice where there are no endpoints.
	Placeholder bool
	Owner       metav1.OwnerReference
	Namespace   string
	Prefix      string
	Labels      map[string]string
	Annotations map[string]string
	Most        int
	Trigger     time.Time
}

func plan(o observed) Plan {
	var missing []string
	var sharing []Sharing
	p := Reconcile(Desired{
		Families: Families(o.svc), Placeholder: true, Owner: *metav1.NewControllerRef(o.svc, serviceGVK), Namespace: o.svc.Namespace,
		Prefix: prefix(o.svc.Name), Labels: labelsOf(o.svc), Most: o.most, Trigger: o.trigger,
		Groups: func(f discoveryv1.AddressType) Groups {
			g := o.groups(f, &missing)
			if ByCapacity(o.svc) && len(g) > 0 {
				sharing = append(sharing, share(f, g, o.capacity, o.slices))
			}
			return g
		},
	}, o.slices)
	slices.Sort(missing)
	p.Missing, p.Sharing = slices.Compact(missing), sharing
	return p
}

// Reconcile plans how the slices that there are become the desired ones.
func Reconcile(d Desired, have []*discoveryv1.EndpointSlice) Plan {
	p := &planner{Desired: d, have: have}
	for _, s := range have {
		if !slices.Contains(d.Families, s.AddressType) {
			p.plan.Delete = append(p.plan.Delete, s)
		}
	}
	for _, f := range d.Families {
		p.family(f)
	}
	return p.plan
}

type planner struct {
	Desired
	have []*discoveryv1.EndpointSlice
	plan Plan
}

// family plans the slices of one address type.
func (p *planner) family(f discoveryv1.AddressType) {
	groups := p.Groups(f)
	existing := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range p.have {
		if s.AddressType == f {
			k := portKey(s.Ports)
			existing[k] = append(existing[k], s)
		}
	}
	if len(groups) == 0 && p.Placeholder {
		p.placeholder(f, existing)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		p.group(f, groups[k], existing[k])
		delete(existing, k)
	}
	for _, k := range slices.Sorted(maps.Keys(existing)) {
		p.plan.Delete = append(p.plan.Delete, existing[k]...)
	}
}

// groups gives the endpoints of one address type; pods of nodes that are not
// known are left out, and the nodes noted.
func (o *observed) groups(f discoveryv1.AddressType, missing *[]string) Groups {
	groups := Groups{}
	for _, v := range o.pods {
		address := Address(v, f)
		if pod.Finished(v) || address == "" {
			continue
		}
		var node *corev1.Node
		if v.Spec.NodeName != "" {
			if node = o.node(v.Spec.NodeName); node == nil && !o.svc.Spec.PublishNotReadyAddresses {
				*missing = append(*missing, v.Spec.NodeName)
				continue
			}
		}
		groups.Add(ports(o.svc, v), endpoint(v, node, o.svc, address))
	}
	return groups
}

// placeholder is the one slice of a service without endpoints: it says that
// somebody looks after the service.
func (p *planner) placeholder(f discoveryv1.AddressType, existing map[string][]*discoveryv1.EndpointSlice) {
	kept := false
	for _, k := range slices.Sorted(maps.Keys(existing)) {
		for _, s := range existing[k] {
			if !kept && len(s.Ports) == 0 {
				kept = true
				p.update(s, nil, nil)
				continue
			}
			p.plan.Delete = append(p.plan.Delete, s)
		}
	}
	if !kept {
		p.create(f, nil, nil)
	}
}

// group plans the slices of endpoints of the same ports, with as few writes as
// may be: what is there stays where it is; what is new fills slices that are
// written anyway, then the fullest one with room for all of it, then new ones.
func (p *planner) group(f discoveryv1.AddressType, g *Group, existing []*discoveryv1.EndpointSlice) {
	slices.SortFunc(existing, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	left := maps.Clone(g.Endpoints)
	contents := make([][]discoveryv1.Endpoint, len(existing))
	changed := make([]bool, len(existing))
	for i, s := range existing {
		for j := range s.Endpoints {
			key := endpointKey(&s.Endpoints[j])
			want, ok := left[key]
			if !ok {
				changed[i] = true
				continue
			}
			delete(left, key)
			changed[i] = changed[i] || !sameEndpoint(&want, &s.Endpoints[j])
			contents[i] = append(contents[i], want)
		}
	}
	fresh := sorted(left)
	for i := range existing {
		if changed[i] {
			fresh = fill(&contents[i], fresh, p.Most)
		}
	}
	for len(fresh) > 0 {
		i := roomiest(contents, changed, len(fresh), p.Most)
		if i < 0 {
			n := min(p.Most, len(fresh))
			p.create(f, g.Ports, fresh[:n])
			fresh = fresh[n:]
			continue
		}
		changed[i] = true
		fresh = fill(&contents[i], fresh, p.Most)
	}
	for i, s := range existing {
		if len(contents[i]) == 0 {
			p.plan.Delete = append(p.plan.Delete, s)
			continue
		}
		p.update(s, g.Ports, contents[i])
	}
}

// roomiest is the fullest slice, not yet written, that takes all n; -1 when
// there is none or one slice would not hold them.
func roomiest(contents [][]discoveryv1.Endpoint, changed []bool, n, most int) int {
	best := -1
	if n >= most {
		return best
	}
	for i := range contents {
		if !changed[i] && len(contents[i]) > 0 && len(contents[i])+n <= most && (best < 0 || len(contents[i]) > len(contents[best])) {
			best = i
		}
	}
	return best
}

func fill(to *[]discoveryv1.Endpoint, from []discoveryv1.Endpoint, most int) []discoveryv1.Endpoint {
	n := max(0, min(most-len(*to), len(from)))
	*to = append(*to, from[:n]...)
	return from[n:]
}

func sorted(m map[string]discoveryv1.Endpoint) []discoveryv1.Endpoint {
	out := slices.Collect(maps.Values(m))
	slices.SortFunc(out, func(a, b discoveryv1.Endpoint) int { return compareEndpoints(&a, &b) })
	return out
}

var serviceGVK = corev1.SchemeGroupVersion.WithKind("Service")

func (p *planner) create(f discoveryv1.AddressType, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, GenerateName: p.Prefix, Labels: maps.Clone(p.Labels), Annotations: maps.Clone(p.Annotations),
			OwnerReferences: []metav1.OwnerReference{p.Owner},
		},
		AddressType: f, Ports: ports, Endpoints: slices.Clone(endpoints),
	}
	p.stamp(s)
	p.plan.Create = append(p.plan.Create, s)
}

// update plans a slice's write if anything about it is to change.
func (p *planner) update(s *discoveryv1.EndpointSlice, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) {
	same := len(endpoints) == len(s.Endpoints) && maps.Equal(p.Labels, s.Labels)
	for k, v := range p.Annotations {
		same = same && s.Annotations[k] == v
	}
	for i := range endpoints {
		same = same && sameEndpoint(&endpoints[i], &s.Endpoints[i])
	}
	if same {
		return
	}
	s = s.DeepCopy()
	s.Labels, s.Ports, s.Endpoints = maps.Clone(p.Labels), ports, endpoints
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	maps.Copy(s.Annotations, p.Annotations)
	p.stamp(s)
	p.plan.Update = append(p.plan.Update, s)
}

func (p *planner) stamp(s *discoveryv1.EndpointSlice) {
	if p.Trigger.IsZero() {
		delete(s.Annotations, triggerKey)
		return
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[triggerKey] = p.Trigger.UTC().Format(time.RFC3339Nano)
}

// labelsOf are the service's and the ones that say whose slice it is.
func labelsOf(svc *corev1.Service) map[string]string {
	out := map[string]string{}
	for k, v := range svc.Labels {
		if k != discoveryv1.LabelServiceName && k != discoveryv1.LabelManagedBy && k != corev1.IsHeadlessService {
			out[k] = v
		}
	}
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		out[corev1.IsHeadlessService] = ""
	}
	out[discoveryv1.LabelServiceName] = svc.Name
	out[discoveryv1.LabelManagedBy] = ManagedBy
	return out
}

// maxPrefix leaves room for the server's suffix.
const maxPrefix = 253 - 6

func prefix(service string) string {
	if len(service) > maxPrefix {
		return service
	}
	return service + "-"
}
