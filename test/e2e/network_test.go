package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// server is a pod that says its name; more is what else its spec has.
func server(name, labels, more string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {%s}}, spec: {terminationGracePeriodSeconds: 1, %s containers: [{name: c, image: '%s', args: [serve],
		ports: [{name: web, containerPort: 8080}, {name: udp, containerPort: 8081, protocol: UDP}]}]}}
---
`, name, labels, more, agent)
}

// call runs the program of client/ in a pod of its image, until it says
// something.
func (u user) call(want, pod string, args ...string) string {
	u.t.Helper()
	return u.says(want, pod, append([]string{"/bin/client"}, args...)...)
}

// slices of a Service as "address:port,ready …", in order.
func (u user) endpoints(service string) (string, error) {
	list, err := api.DiscoveryV1().EndpointSlices(u.namespace).List(u.t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return "", err
	}
	var all []string
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			for _, p := range s.Ports {
				all = append(all, fmt.Sprintf("%s:%d=%t", e.Addresses[0], *p.Port, *e.Conditions.Ready))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// endpointsAre waits for both of a Service's ways to have these pods.
func (u user) endpointsAre(service string, port int, pods ...string) {
	u.t.Helper()
	var want, bare []string
	for _, p := range pods {
		ip := u.get("pod/"+p, "{.status.podIP}")
		want, bare = append(want, fmt.Sprintf("%s:%d=true", ip, port)), append(bare, ip)
	}
	slices.Sort(want)
	u.until(fmt.Sprintf("service %s has the endpoints %v", service, want), func() error {
		got, err := u.endpoints(service)
		if err == nil && got != strings.Join(want, " ") {
			err = fmt.Errorf("they are %q", got)
		}
		if err != nil {
			return err
		}
		old, err := u.output("get", "endpoints", service, "-o", "jsonpath={.subsets[*].addresses[*].ip}")
		have := strings.Fields(old)
		slices.Sort(have)
		slices.Sort(bare)
		if err == nil && !slices.Equal(have, bare) {
			err = fmt.Errorf("the old ones are %q", old)
		}
		return err
	})
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	u := newUser(t, "endpoints")
	u.apply(server("client", "app: client", ""))
	u.ready("pod/client")
	u.sub("NE-b970 NE-bd59 NE-f7f1 endpoints follow pods", func(u user) {
		u.run("create", "service", "clusterip", "web", "--tcp=80:8080")
		u.endpointsAre("web", 8080)
		for _, pods := range [][]string{{"a"}, {"a", "b"}, {"b"}, {}} {
			for _, p := range []string{"a", "b"} {
				there := u.try("get", "pod", p) == nil
				switch wanted := slices.Contains(pods, p); {
				case wanted && !there:
					u.apply(server(p, "app: web", ""))
					u.ready("pod/" + p)
				case there && !wanted:
					u.run("delete", "pod", p)
				}
			}
			u.endpointsAre("web", 8080, pods...)
			for _, p := range pods {
				u.call(p, "client", "get", "http://web/hostname")
			}
		}
		u.run("delete", "service", "web")
		u.has("", "endpointslices -l kubernetes.io/service-name=web", "{.items[*].metadata.name}")
		u.until("the old object is gone", func() error { return refuses(u.try("get", "endpoints", "web"), "not found") })
	})
	u.sub("NE-c487 NE-ad84 endpoints of nothing", func(u user) {
		u.run("create", "service", "clusterip", "empty", "--tcp=80:80")
		u.has("endpointslice-controller.k8s.io/", "endpointslices -l kubernetes.io/service-name=empty", `{.items[*].metadata.labels.endpointslice\.kubernetes\.io/managed-by}/{.items[*].endpoints[*].addresses}`)
		u.has("empty", "endpoints/empty", "{.metadata.name}{.subsets}")
		u.run("delete", "service", "empty")
		u.has("", "endpointslices -l kubernetes.io/service-name=empty", "{.items[*].metadata.name}")
		u.until("the old object is gone", func() error { return refuses(u.try("get", "endpoints", "empty"), "not found") })
	})
	u.sub("NE-570c two ports of different pods", func(u user) {
		u.apply(`{apiVersion: v1, kind: Service, metadata: {name: ports}, spec: {selector: {group: ports}, ports: [{name: one, port: 80, targetPort: one}, {name: two, port: 81, targetPort: two}]}}
---
` + strings.Replace(server("one", "group: ports", ""), "name: web", "name: one", 1) + strings.Replace(server("two", "group: ports", ""), "name: web", "name: two", 1))
		u.ready("pod/one", "pod/two")
		u.call("one", "client", "get", "http://ports/hostname")
		u.call("two", "client", "get", "http://ports:81/hostname")
		u.has(u.get("pod/two", "{.status.podIP}"), "endpoints/ports", `{.subsets[?(@.ports[0].name=="two")].addresses[*].ip}`)
		u.run("delete", "pod", "one")
		u.has("two", "endpoints/ports", `{.subsets[*].ports[*].name}`)
	})
	u.sub("NE-5a80 slices made by hand", func(u user) { handMade(u) })
	u.sub("NE-2aba a hundred services", manyServices)
	u.sub("NE-d0e9 NE-afc3 NE-166a the API server's own", func(u user) {
		u.namespace = "default"
		address := running.Members()[0].Address
		u.has(address+":6443 https", "endpoints/kubernetes", "{.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port} {.subsets[0].ports[0].name}")
		u.has(address+":6443", "endpointslices -l kubernetes.io/service-name=kubernetes", "{.items[0].endpoints[0].addresses[0]}:{.items[0].ports[0].port}")
		u.has("ClusterIP 443", "service/kubernetes", "{.spec.type} {.spec.ports[0].port}")
		all, err := api.CoreV1().Services("").List(u.t.Context(), metav1.ListOptions{})
		if err != nil || !slices.ContainsFunc(all.Items, func(s corev1.Service) bool { return s.Namespace == "default" && s.Name == "kubernetes" }) {
			u.t.Errorf("of all services %v", err)
		}
	})
}

// refuses turns an expected error into none.
func refuses(err error, want string) error {
	if err == nil || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("the answer is %v, expected %q", err, want)
	}
	return nil
}

func handMade(u user) {
	u.apply(strings.Replace(server("backend", "app: backend", ""), "containers: [", "containers: [{name: d, image: '"+agent+"', args: [serve, '9090', '9091']}, ", 1) +
		`{apiVersion: v1, kind: Service, metadata: {name: made}, spec: {ports: [{name: one, port: 80}, {name: two, port: 81}]}}`)
	u.ready("pod/backend")
	ip := u.get("pod/backend", "{.status.podIP}")
	for name, port := range map[string]int32{"one": 8080, "two": 9090} {
		ready := true
		s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "made-" + name, Labels: map[string]string{discoveryv1.LabelServiceName: "made"}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}}
		if _, err := api.DiscoveryV1().EndpointSlices(u.namespace).Create(u.t.Context(), s, metav1.CreateOptions{}); err != nil {
			u.t.Fatal(err)
		}
	}
	u.call("backend", "client", "get", "http://made/hostname")
	u.call("backend", "client", "get", "http://made:81/hostname")
}

// manyServices measures how long an endpoint takes, from the Service.
func manyServices(u user) {
	const n = 100
	u.apply(server("of-many", "app: of-many", ""))
	u.ready("pod/of-many")
	w, err := api.DiscoveryV1().EndpointSlices(u.namespace).Watch(u.t.Context(), metav1.ListOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
	defer w.Stop()
	begun := map[string]time.Time{}
	for i := range n {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%d", i), Labels: map[string]string{"many": "yes"}},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "of-many"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
		begun[s.Name] = time.Now()
		if _, err := api.CoreV1().Services(u.namespace).Create(u.t.Context(), s, metav1.CreateOptions{}); err != nil {
			u.t.Fatal(err)
		}
	}
	var took []time.Duration
	for len(begun) > 0 {
		e := u.event(w)
		s, ok := e.Object.(*discoveryv1.EndpointSlice)
		if !ok || len(s.Endpoints) == 0 {
			continue
		}
		if at, ok := begun[s.Labels[discoveryv1.LabelServiceName]]; ok {
			took = append(took, time.Since(at))
			delete(begun, s.Labels[discoveryv1.LabelServiceName])
		}
	}
	slices.Sort(took)
	u.t.Logf("endpoints after %v at the median, %v at nine tenths", took[n/2], took[n*9/10])
	if took[n/2] > 20*time.Second || took[n*9/10] > 50*time.Second {
		u.t.Errorf("conformance wants 20 and 50 seconds")
	}
	u.run("delete", "services", "-l", "many=yes", "--wait=false")
}

// TestServiceTypes changes a Service's type and asks it by every way it has.
func TestServiceTypes(t *testing.T) {
	t.Parallel()
	u := newUser(t, "types")
	u.apply(server("client", "app: client", "") + server("a", "app: web", "") + server("b", "app: web", ""))
	u.ready("pod/client", "pod/a", "pod/b")
	service := func(u user, name, spec string) {
		u.apply(`{apiVersion: v1, kind: Service, metadata: {name: ` + name + `}, spec: {` + spec + `}}`)
	}
	const ports = "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]"
	inside := func(u user, name string) {
		for _, address := range []string{name, u.get("service/"+name, "{.spec.clusterIP}")} {
			u.call("", "client", "get", "http://"+address+"/hostname")
		}
	}
	atNodes := func(u user, name string) {
		port := u.get("service/"+name, "{.spec.ports[0].nodePort}")
		for _, n := range running.Members() {
			u.call("", "client", "get", "http://"+n.Address+":"+port+"/hostname")
		}
	}
	u.sub("NE-e981 NodePort", func(u user) {
		service(u, "node", "type: NodePort, "+ports)
		inside(u, "node")
		atNodes(u, "node")
	})
	u.sub("NE-3894 ExternalName to ClusterIP", func(u user) {
		service(u, "grows", "type: ExternalName, externalName: example.com")
		service(u, "grows", "type: ClusterIP, externalName: null, "+ports)
		inside(u, "grows")
	})
	u.sub("NE-7efd ExternalName to NodePort", func(u user) {
		service(u, "opens", "type: ExternalName, externalName: example.com")
		service(u, "opens", "type: NodePort, externalName: null, "+ports)
		inside(u, "opens")
		atNodes(u, "opens")
	})
	u.sub("NE-8da8 ClusterIP to ExternalName", func(u user) {
		service(u, "leaves", ports)
		inside(u, "leaves")
		u.run("patch", "service", "leaves", "-p", `{"spec":{"type":"ExternalName","externalName":"kubernetes.default.svc.cluster.local","clusterIP":"","clusterIPs":null}}`)
		u.has("", "service/leaves", "{.spec.clusterIP}")
		u.call("canonical kubernetes.default.svc.cluster.local.", "client", "name", "udp", "10.96.0.10", "leaves.types.svc.cluster.local.")
	})
	u.sub("NE-3e61 affinity, none, affinity", func(u user) {
		service(u, "sticks", "sessionAffinity: ClientIP, "+ports)
		hears := func(want int) {
			u.until(fmt.Sprintf("%d pods answer", want), func() error { return u.heard(want, "http://sticks/hostname") })
		}
		hears(1)
		u.run("patch", "service", "sticks", "-p", `{"spec":{"sessionAffinity":"None"}}`)
		hears(2)
		u.run("patch", "service", "sticks", "-p", `{"spec":{"sessionAffinity":"ClientIP"}}`)
		hears(1)
	})
	u.sub("NE-5059 affinity at a node's port", func(u user) {
		service(u, "sticks-too", "type: NodePort, sessionAffinity: ClientIP, "+ports)
		port := u.get("service/sticks-too", "{.spec.ports[0].nodePort}")
		u.until("one pod answers", func() error { return u.heard(1, "http://"+running.Members()[0].Address+":"+port+"/hostname") })
	})
	u.sub("NE-5e83 NE-be0d NE-a72b the API server's proxy", proxied)
}

// heard asks twenty times, and counts who answers.
func (u user) heard(want int, url string) error {
	out, err := u.output(append([]string{"exec", "client", "--", "/bin/client", "get"}, slices.Repeat([]string{url}, 20)...)...)
	all := strings.Fields(out)
	slices.Sort(all)
	if got := len(slices.Compact(all)); err == nil && got != want {
		err = fmt.Errorf("%d pods answer: %s", got, out)
	}
	return err
}

// proxied asks pods and Services through the API server, with every verb.
func proxied(u user) {
	u.apply(`{apiVersion: v1, kind: Service, metadata: {name: proxied}, spec: {selector: {app: web}, ports: [{name: web, port: 80, targetPort: 8080}]}}`)
	u.endpointsAre("proxied", 8080, "a", "b")
	root := "/api/v1/namespaces/" + u.namespace
	for _, to := range []string{"/pods/a:8080", "/pods/http:a:8080", "/services/proxied:80", "/services/proxied:web", "/services/http:proxied:web"} {
		for _, verb := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"} {
			for _, path := range []string{"/proxy/", "/proxy/some/path/with/" + verb} {
				r := api.CoreV1().RESTClient().Verb(verb).AbsPath(root + to + path).Do(u.t.Context())
				got, err := r.Raw()
				want := verb + " " + strings.TrimPrefix(path, "/proxy") + " at "
				if verb == "HEAD" {
					want = ""
				}
				if err != nil || !strings.HasPrefix(string(got), want) {
					u.t.Errorf("%s %s: %q, %v", verb, to+path, got, err)
				}
			}
		}
	}
}
