package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// warnPod gives what is accepted in a new pod but should not be relied on.
func warnPod(p *corev1.Pod) []string {
	w := podWarnings{spec: &p.Spec, annotations: p.Annotations}
	if !plainLabel(p.Name) {
		if msgs := utilvalidation.IsDNS1123Label(p.Name); len(msgs) > 0 {
			w.list = append(w.list, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
		}
	}
	w.all(nil)
	return w.list
}

// WarnPodTemplate gives the warnings of a template; old is nil on create.
func WarnPodTemplate(path *field.Path, t, old *corev1.PodTemplateSpec) []string {
	if t == nil {
		return nil
	}
	w := podWarnings{spec: &t.Spec, annotations: t.Annotations}
	w.all(path)
	return w.list
}

type podWarnings struct {
	spec        *corev1.PodSpec
	annotations map[string]string
	list        []string
}

func (w *podWarnings) add(p *field.Path, format string, args ...any) {
	w.list = append(w.list, p.String()+": "+fmt.Sprintf(format, args...))
}

func (w *podWarnings) all(path *field.Path) {
	spec := specPath
	if path != nil {
		spec = path.Child("spec")
	}
	w.nodeLabels(spec)
	if len(w.annotations) > 0 {
		w.annotationNames(path)
	}
	w.selectors(spec)
	if len(w.spec.Volumes) > 0 {
		w.volumes(spec.Child("volumes"))
	}
	if len(w.spec.HostAliases) > 0 {
		w.hostAliases(spec.Child("hostAliases"))
	}
	if len(w.spec.ImagePullSecrets) > 0 {
		w.pullSecrets(spec.Child("imagePullSecrets"))
	}
	if g := w.spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		w.add(spec.Child("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.containers(w.spec.InitContainers, spec, "initContainers")
	w.containers(w.spec.Containers, spec, "containers")
	w.ports(spec)
	if r := w.spec.Resources; r != nil {
		w.fractions(r, func() *field.Path { return spec.Child("resources") })
	}
	w.overhead(spec)
	if d := w.spec.DNSConfig; d != nil {
		for i, ns := range d.Nameservers {
			w.oddIP(ns, spec.Child("dnsConfig", "nameservers").Index(i))
		}
	}
}

// oldNodeLabels are node labels from before the labels of today.
var oldNodeLabels = map[string]string{
	corev1.LabelFailureDomainBetaRegion: `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	corev1.LabelFailureDomainBetaZone:   `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	corev1.LabelInstanceType:            `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
	"beta.kubernetes.io/arch":           `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":             `deprecated since v1.14; use "kubernetes.io/os" instead`,
}

func (w *podWarnings) nodeLabels(spec *field.Path) {
	for k := range w.spec.NodeSelector {
		if m, ok := oldNodeLabels[k]; ok {
			w.add(spec.Child("nodeSelector").Key(k), "%s", m)
		}
	}
	if a := w.spec.Affinity; a != nil && a.NodeAffinity != nil {
		p := spec.Child("affinity", "nodeAffinity")
		if n := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution; n != nil {
			for i := range n.NodeSelectorTerms {
				w.nodeTerm(&n.NodeSelectorTerms[i], p.Child(requiredTerms, "nodeSelectorTerms").Index(i))
			}
		}
		for i := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution[i]
			w.nodeTerm(&t.Preference, p.Child(preferredTerms).Index(i).Child("preference"))
		}
	}
	for i := range w.spec.TopologySpreadConstraints {
		t, p := &w.spec.TopologySpreadConstraints[i], spec.Child("topologySpreadConstraints").Index(i)
		if m, ok := oldNodeLabels[t.TopologyKey]; ok {
			w.add(p.Child("topologyKey"), "%s is %s", t.TopologyKey, m)
		}
	}
}

func (w *podWarnings) nodeTerm(t *corev1.NodeSelectorTerm, p *field.Path) {
	for i := range t.MatchExpressions {
		if m, ok := oldNodeLabels[t.MatchExpressions[i].Key]; ok {
			w.add(p.Child("matchExpressions").Index(i).Child("key"), "%s is %s", t.MatchExpressions[i].Key, m)
		}
	}
}

const (
	criticalPodAnnotation   = "scheduler.alpha.kubernetes.io/critical-pod"
	seccompAnnotation       = "seccomp.security.alpha.kubernetes.io/pod"
	seccompContainersPrefix = "container.seccomp.security.alpha.kubernetes.io/"
)

func (w *podWarnings) annotationNames(path *field.Path) {
	p := annotationsPath
	if path != nil {
		p = path.Child("metadata", "annotations")
	}
	for key := range w.annotations {
		switch {
		case key == criticalPodAnnotation:
			w.add(p.Key(key), `non-functional in v1.16+; use the "priorityClassName" field instead`)
		case key == seccompAnnotation && (w.spec.SecurityContext == nil || w.spec.SecurityContext.SeccompProfile == nil):
			w.add(p.Key(key), `non-functional in v1.27+; use the "seccompProfile" field instead`)
		case strings.HasPrefix(key, seccompContainersPrefix):
			if c := w.named(key[len(seccompContainersPrefix):]); c != nil && (c.SecurityContext == nil || c.SecurityContext.SeccompProfile == nil) {
				w.add(p.Key(key), `non-functional in v1.27+; use the "seccompProfile" field instead`)
			}
		case strings.HasPrefix(key, appArmorPrefix):
			w.add(p.Key(key), `deprecated since v1.30; use the "appArmorProfile" field instead`)
		}
	}
}

func (w *podWarnings) named(name string) (found *corev1.Container) {
	eachOwnContainer(w.spec, func(c *corev1.Container) {
		if c.Name == name {
			found = c
		}
	})
	return found
}

// selectors speaks of selectors that select nothing, which read as if they
// selected everything.
func (w *podWarnings) selectors(spec *field.Path) {
	const none = "a null labelSelector results in matching no pod"
	for i := range w.spec.TopologySpreadConstraints {
		if w.spec.TopologySpreadConstraints[i].LabelSelector == nil {
			w.add(spec.Child("topologySpreadConstraints").Index(i).Child("labelSelector"), none)
		}
	}
	all := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, name string) {
		p := spec.Child("affinity", name)
		for i := range required {
			if required[i].LabelSelector == nil {
				w.add(p.Child(requiredTerms).Index(i).Child("labelSelector"), none)
			}
		}
		for i := range preferred {
			if preferred[i].PodAffinityTerm.LabelSelector == nil {
				w.add(p.Child(preferredTerms).Index(i).Child("podAffinityTerm", "labelSelector"), none)
			}
		}
	}
	a := w.spec.Affinity
	if a == nil {
		return
	}
	if t := a.PodAffinity; t != nil {
		all(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, "podAffinity")
	}
	if t := a.PodAntiAffinity; t != nil {
		all(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, "podAntiAffinity")
	}
}

func (w *podWarnings) hostAliases(p *field.Path) {
	for i := range w.spec.HostAliases {
		ip := w.spec.HostAliases[i].IP
		for j := range i {
			if w.spec.HostAliases[j].IP == ip {
				w.add(p.Index(i).Child("ip"), "duplicate ip %q", ip)
				break
			}
		}
		w.oddIP(ip, p.Index(i).Child("ip"))
	}
}

func (w *podWarnings) pullSecrets(p *field.Path) {
	for i := range w.spec.ImagePullSecrets {
		name := w.spec.ImagePullSecrets[i].Name
		if name == "" {
			w.add(p.Index(i).Child("name"), "invalid empty name %q", name)
			continue
		}
		for j := range i {
			if w.spec.ImagePullSecrets[j].Name == name {
				w.add(p.Index(i).Child("name"), "duplicate name %q", name)
				break
			}
		}
	}
}

func (w *podWarnings) containers(list []corev1.Container, spec *field.Path, name string) {
	for i := range list {
		c := &list[i]
		at := func() *field.Path { return spec.Child(name).Index(i) }
		w.fractions(&c.Resources, func() *field.Path { return at().Child("resources") })
		for j := range c.Env {
			if hidesEarlier(c.Env, j) {
				w.add(at().Child("env").Index(j), "hides previous definition of %q, which may be dropped when using apply", c.Env[j].Name)
			}
		}
		for j := range c.Ports {
			if port := &c.Ports[j]; port.HostIP != "" {
				if port.HostPort == 0 {
					w.add(at().Child("ports").Index(j), "hostIP set without hostPort: %+v", *port)
				}
				if port.HostPort != 0 {
					w.oddIP(port.HostIP, at().Child("ports").Index(j).Child("hostIP"))
				}
			}
		}
	}
}

// oddIP speaks of an address in an odd form. The addresses of host ports are
// not validated, so that it may be none.
func (w *podWarnings) oddIP(ip string, p *field.Path) {
	if _, ok := parseLegacyIP(ip); ok {
		w.list = append(w.list, warnIP(ip, p)...)
	}
}

// hidesEarlier finds a variable that is defined twice. One that refers to
// itself extends the earlier one and is fine.
func hidesEarlier(env []corev1.EnvVar, j int) bool {
	for k := range j {
		if env[k].Name == env[j].Name {
			return !strings.Contains(env[j].Value, "$("+env[j].Name+")")
		}
	}
	return false
}

// fractions speaks of parts of bytes.
func (w *podWarnings) fractions(r *corev1.ResourceRequirements, at func() *field.Path) {
	one := func(l corev1.ResourceList, name corev1.ResourceName, list string) {
		if q, ok := l[name]; ok && fractional(q) {
			w.add(at().Child(list).Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
		}
	}
	for _, name := range [...]corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		one(r.Requests, name, "requests")
		one(r.Limits, name, "limits")
	}
}

func (w *podWarnings) overhead(spec *field.Path) {
	for _, name := range [...]corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q, ok := w.spec.Overhead[name]; ok && fractional(q) {
			w.add(spec.Child("overhead").Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
		}
	}
}

func fractional(q resource.Quantity) bool { return q.MilliValue()%1000 != 0 }

// ports speaks of ports defined twice, and of names that mean two ports. A
// sidecar's ports count; those of other init containers are closed by the time
// the containers open theirs.
func (w *podWarnings) ports(spec *field.Path) {
	var seen []portAt
	for i := range w.spec.InitContainers {
		if c := &w.spec.InitContainers[i]; IsSidecar(c) {
			seen = w.containerPorts(seen, c, func() *field.Path { return spec.Child("initContainers").Index(i) })
		}
	}
	for i := range w.spec.Containers {
		seen = w.containerPorts(seen, &w.spec.Containers[i], func() *field.Path { return spec.Child("containers").Index(i) })
	}
}

type portAt struct {
	port *corev1.ContainerPort
	own  bool
	at   func() *field.Path
}

func (w *podWarnings) containerPorts(seen []portAt, c *corev1.Container, at func() *field.Path) []portAt {
	for i := range seen {
		seen[i].own = false
	}
	for i := range c.Ports {
		port := &c.Ports[i]
		here := portAt{port, true, func() *field.Path { return at().Child("ports").Index(i) }}
		for _, o := range seen {
			if samePort(o.port, port) {
				w.add(here.at(), "duplicate port definition with %s", o.at())
				break
			}
		}
		if port.Name != "" {
			for _, o := range seen {
				if o.port.Name == port.Name && !o.own {
					w.add(here.at(), "duplicate port name %q with %s, services and probes that select ports by name will use %s", port.Name, o.at(), o.at())
					break
				}
			}
		}
		seen = append(seen, here)
	}
	return seen
}

// samePort compares all but the names. A port that is bound to a part of the
// host's addresses and one bound to another part differ.
func samePort(a, b *corev1.ContainerPort) bool {
	return a.ContainerPort == b.ContainerPort && a.HostPort == b.HostPort && a.Protocol == b.Protocol && a.HostIP == b.HostIP
}

func plainLabel(s string) bool {
	if s == "" || len(s) > 63 || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !isLowerAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}
