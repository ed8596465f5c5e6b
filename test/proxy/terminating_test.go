package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/test/apiservertest"
)

// TestTerminating: the last endpoint of a node serves until it has gone,
// while load balancers are told at once to send elsewhere.
func TestTerminating(t *testing.T) {
	server := apiservertest.Start(t)
	c := &cluster{kube: client(t, server.Kubeconfig)}
	here, there := netip.MustParseAddr("10.250.0.1"), netip.MustParseAddr("10.250.0.2")
	for _, a := range []netip.Addr{here, there} {
		if out, err := exec.Command("ip", "address", "add", a.String()+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, 8080).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, a) })) // ends with the listener
		}()
	}
	if out, err := exec.Command("ip", "route", "add", "10.0.0.0/8", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	local, inside := corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceInternalTrafficPolicyLocal
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: local, InternalTrafficPolicy: &inside,
		Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	s, err := c.kube.CoreV1().Services("default").Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices := c.kube.DiscoveryV1().EndpointSlices("default")
	if _, err := slices.Create(t.Context(), slice(0, nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start(t, server.Kubeconfig, "--nodeport-addresses=127.0.0.0/8", "--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256")
	taken, err := net.Listen("tcp", fmt.Sprintf(":%d", s.Spec.HealthCheckNodePort))
	if err != nil {
		t.Fatal(err)
	}
	url, health := "http://"+s.Spec.ClusterIP, fmt.Sprintf("http://127.0.0.1:%d", s.Spec.HealthCheckNodePort)
	// Somebody else has the port, which people hear of.
	for _, want := range []string{"Normal Starting ", "Warning FailedToStartServiceHealthcheck node node failed to start healthcheck \"default/web-0\" on port "} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			list, err := c.kube.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if told(list.Items, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("no event %s in %+v", want, list.Items)
			}
		}
	}
	taken.Close()
	yes, no := true, false
	endpoint := func(a netip.Addr, node string, ready, terminating *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{a.String()}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: &yes, Terminating: terminating}}
	}
	away := endpoint(there, "other", &yes, &no)
	for _, step := range []struct {
		name      string
		endpoints []discoveryv1.Endpoint
		answer    string
		health    int
		count     string
	}{
		{"ready", []discoveryv1.Endpoint{endpoint(here, "node", &yes, &no), away}, here.String(), 200, `"localEndpoints": 1`},
		{"terminating", []discoveryv1.Endpoint{endpoint(here, "node", &no, &yes), away}, here.String(), 503, `"localEndpoints": 0`},
		{"gone", []discoveryv1.Endpoint{away}, "deadline exceeded", 503, `"localEndpoints": 0`},
		{"back", []discoveryv1.Endpoint{endpoint(here, "node", &yes, &no)}, here.String(), 200, `"localEndpoints": 1`},
	} {
		e := slice(0, nil)
		e.Endpoints = step.endpoints
		if _, err := slices.Update(t.Context(), e, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		var answer, body string
		var code int
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			code, body = status(health)
			if code == step.health && strings.Contains(body, step.count) {
				if answer = get(nil, url); strings.Contains(answer, step.answer) {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: health %d %s, the service says %q; want %d, %q", step.name, code, body, answer, step.health, step.answer)
			}
		}
	}
	metrics := get(t, "http://127.0.0.1:10249/metrics")
	for _, want := range []string{
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} 0`,
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}`, `kubeproxy_sync_proxy_rules_endpoint_changes_pending 0`,
		`kubeproxy_network_programming_duration_seconds`, `kubeproxy_sync_proxy_rules_service_changes_total`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for path, want := range map[string]string{
		"/configz": `"kubeproxy.config.k8s.io":`, "/flagz": "\nproxy-mode=nftables\n", "/statusz": "kube-proxy statusz", "/proxyMode": "nftables", "/healthz": "ok",
	} {
		if got := get(t, "http://127.0.0.1:10249"+path); !strings.Contains(got, want) {
			t.Errorf("%s says %s", path, got)
		}
	}
	// Nobody has asked for profiles; there is no Node, which may come later.
	if code, _ := status("http://127.0.0.1:10249/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("profiles: %d", code)
	}
	if code, body := status("http://127.0.0.1:10256/healthz"); code != 200 || !strings.Contains(body, `"nodeEligible": true`) {
		t.Errorf("/healthz: %d %s", code, body)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}}}
	if _, err := c.kube.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code, body := status("http://127.0.0.1:10256/healthz")
		if live, _ := status("http://127.0.0.1:10256/livez"); code == 503 && live == 200 && strings.Contains(body, `"nodeEligible": false`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node will be deleted, /healthz says %d %s", code, body)
		}
	}
	// Rules outlive the program, and go with --cleanup.
	c.stop()
	if answer := get(t, url); answer != here.String() {
		t.Errorf("without the program: %s", answer)
	}
	for range 2 { // again, with nothing there
		if out, err := exec.Command(apiservertest.Binary("kube-proxy"), "--cleanup").CombinedOutput(); err != nil {
			t.Errorf("--cleanup: %v\n%s", err, out)
		}
	}
	if answer := get(nil, url); answer == here.String() {
		t.Error("after --cleanup the service still answers")
	}
}

func told(all []corev1.Event, want string) bool {
	for i := range all {
		if e := &all[i]; strings.HasPrefix(e.Type+" "+e.Reason+" "+e.Message, want) && e.Source.Component == "kube-proxy" {
			return true
		}
	}
	return false
}

// status is what a server answers; 0 when it does not.
func status(url string) (int, string) {
	resp, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(raw)
}
