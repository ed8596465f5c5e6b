package core_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
)

// resource finds one of the group's resources by its kind.
func resource(t *testing.T, kind string) *scheme.Resource {
	t.Helper()
	for _, r := range core.Resources() {
		if r.Kind == kind {
			return &r
		}
	}
	t.Fatalf("no kind %s", kind)
	return nil
}

// decoded reads an object and gives it the defaults.
func decoded(t *testing.T, r *scheme.Resource, text string) runtime.Object {
	t.Helper()
	obj := r.New()
	if err := json.Unmarshal([]byte(text), obj); err != nil {
		t.Fatal(err)
	}
	if r.Strategy.Default != nil {
		r.Strategy.Default(obj)
	}
	return obj
}

func compareErrors(t *testing.T, got field.ErrorList, want string) {
	t.Helper()
	var lines []string
	for _, e := range got {
		lines = append(lines, e.Error())
	}
	if text := strings.Join(lines, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

var now = scheme.Context{Now: metav1.Now()}

// Rules of creates that the recordings do not show.
func TestCreate(t *testing.T) {
	for _, c := range []struct{ name, kind, object, errors string }{
		{"quota: values for an operator that takes some", "ResourceQuota",
			`{"spec":{"hard":{"pods":"1"},"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In"}]}}}`,
			"spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"},
		{"quota: a scope of claims over pods", "ResourceQuota",
			`{"spec":{"hard":{"pods":"1","example.com/x":"1"},"scopes":["VolumeAttributesClass"]}}`,
			`spec.scopes: Invalid value: ["VolumeAttributesClass"]: unsupported scope applied to resource`},
		{"quota: a fraction of another's resource", "ResourceQuota", `{"spec":{"hard":{"example.com/x":"1500m"}}}`,
			`spec.hard[example.com/x]: Invalid value: "1500m": must be an integer`},
		{"limits: of a claim without storage", "LimitRange", `{"spec":{"limits":[{"type":"PersistentVolumeClaim"}]}}`,
			"spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"},
		{"limits: a ratio below one", "LimitRange", `{"spec":{"limits":[{"type":"Container","maxLimitRequestRatio":{"cpu":"500m"}}]}}`,
			`spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1`},
		{"limits: what can't be overcommitted", "LimitRange",
			`{"spec":{"limits":[{"type":"Container","default":{"hugepages-2Mi":"4Mi"},"defaultRequest":{"hugepages-2Mi":"2Mi"}}]}}`,
			`spec.limits[0].defaultRequest[hugepages-2Mi]: Invalid value: "2Mi": default value 4Mi must equal to defaultRequest value 2Mi in hugepages-2Mi`},
		{"limits: a default above the maximum", "LimitRange", `{"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"default":{"cpu":"2"}}]}}`,
			"spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than max value 1\n" +
				`spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1`},
		{"node: two ranges of one family, and one twice", "Node", `{"spec":{"podCIDR":"10.0.0.0/24","podCIDRs":["10.0.0.0/24","10.0.0.0/24"]}}`,
			"spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.0.0/24\"]: may specify no more than one CIDR for each IP family\n" +
				`spec.podCIDRs[1]: Duplicate value: "10.0.0.0/24"`},
		{"node: a taint twice", "Node", `{"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","value":"v","effect":"NoSchedule"}]}}`,
			`metadata.taints[1]: Duplicate value: {"Key":"a","Value":"v","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair`},
		{"node: a negative capacity", "Node", `{"status":{"capacity":{"cpu":"-1"},"allocatable":{"cpu":"1"}}}`,
			`status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`},
		{"endpoints: a subset of nothing", "Endpoints", `{"subsets":[{}]}`,
			"subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"},
		{"endpoints: leading zeros", "Endpoints", `{"subsets":[{"addresses":[{"ip":"010.1.1.1"}]}]}`,
			`subsets[0].addresses[0].ip: Invalid value: "010.1.1.1": must not have leading 0s`},
		{"claim: nothing asked for", "PersistentVolumeClaim", `{"spec":{}}`,
			"spec.accessModes: Required value: at least 1 access mode is required\nspec.resources[storage]: Required value"},
		{"claim: a negative size", "PersistentVolumeClaim", `{"spec":{"accessModes":["x"],"resources":{"requests":{"storage":"-1"}}}}`,
			"spec.accessModes: Unsupported value: \"x\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"\n" +
				`spec.resources[storage]: Invalid value: "-1": must be greater than zero`},
		{"claim: a source without name", "PersistentVolumeClaim",
			`{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}},"dataSourceRef":{"apiGroup":"A_","kind":"","name":""}}}`,
			func() string {
				var lines []string
				for _, f := range []string{"spec.dataSource", "spec.dataSourceRef"} {
					lines = append(lines, f+".name: Required value", f+".kind: Required value",
						f+`.apiGroup: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`)
				}
				return strings.Join(lines, "\n")
			}()},
		{"volume: the root, to be recycled", "PersistentVolume",
			`{"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1"},"hostPath":{"path":"/./"},"persistentVolumeReclaimPolicy":"Recycle"}}`,
			"spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"},
		{"volume: an empty attributes class", "PersistentVolume",
			`{"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1"},"hostPath":{"path":"/x"},"volumeAttributesClassName":""}}`,
			"spec.volumeAttributesClassName: Required value: an empty string is disallowed"},
		{"volume: a local path that climbs", "PersistentVolume",
			`{"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1"},"local":{"path":"/a/.."},"nodeAffinity":{"required":{"nodeSelectorTerms":[]}}}}`,
			"spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term\n" +
				`spec.local.path: Invalid value: "/a/..": must not contain '..'`},
		{"controller: a negative count, last", "ReplicationController",
			`{"spec":{"replicas":-1,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}`,
			"spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"\n" +
				"spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
		{"controller: nothing", "ReplicationController", `{"spec":{}}`, "spec.selector: Required value\nspec.template: Required value"},
		{"service: the kubelet's port on a balancer", "Service",
			`{"spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","ports":[{"port":10250,"nodePort":30000}]}}`,
			"spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"},
		{"service: a node port twice", "Service",
			`{"spec":{"type":"NodePort","ports":[{"name":"a","port":1,"nodePort":30000},{"name":"b","port":2,"nodePort":30000}]}}`,
			"spec.ports[1].nodePort: Duplicate value: 30000"},
		{"service: a balancer's fields elsewhere", "Service",
			`{"spec":{"ports":[{"port":1}],"allocateLoadBalancerNodePorts":true,"externalTrafficPolicy":"Local","healthCheckNodePort":1}}`,
			"spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'\n" +
				"spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services\n" +
				"spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
		{"service: two addresses of one family", "Service",
			`{"spec":{"ports":[{"port":1}],"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","10.0.0.2"]}}`,
			`spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family`},
		{"event: far too long", "Event", `{"metadata":{"namespace":"default"},"eventTime":"2026-01-01T00:00:00.000000Z","reportingComponent":"a/b","reportingInstance":"i","action":"a","reason":"r","message":"` + strings.Repeat("x", 1025) + `"}`,
			`message: Invalid value: "": can have at most 1024 characters`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := resource(t, c.kind)
			obj := decoded(t, r, c.object)
			if m := obj.(metav1.Object); r.Namespaced && m.GetNamespace() == "" {
				m.SetNamespace("default")
			}
			if r.Strategy.PrepareCreate != nil {
				r.Strategy.PrepareCreate(now, obj)
			}
			compareErrors(t, r.Strategy.ValidateCreate(obj), c.errors)
		})
	}
}

// Rules of updates that the recordings do not show.
func TestUpdate(t *testing.T) {
	const claim = `{"metadata":{"annotations":{%A}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}}%S},"status":{"phase":"Bound","capacity":{"storage":"1"}%T}}`
	c := func(annotations, spec, status string) string {
		return strings.NewReplacer("%A", annotations, "%S", spec, "%T", status).Replace(claim)
	}
	const volume = `{"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1"},"csi":{"driver":"d","volumeHandle":"h"%C}%S}}`
	v := func(csi, spec string) string { return strings.NewReplacer("%C", csi, "%S", spec).Replace(volume) }
	const beta = `,"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"failure-domain.beta.kubernetes.io/zone","operator":"Exists"}]}]}}`
	dual := `{"spec":{"ports":[{"port":1}],"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"PreferDualStack"}}`
	for _, c := range []struct{ name, kind, old, object, errors string }{
		{"claim: the class moves from the annotation", "PersistentVolumeClaim",
			c(`"volume.beta.kubernetes.io/storage-class":"x"`, "", ""), c("", `,"storageClassName":"x"`, ""), ""},
		{"claim: another attributes class", "PersistentVolumeClaim",
			c("", `,"volumeAttributesClassName":"a"`, ""), c("", `,"volumeAttributesClassName":"b"`, ""), ""},
		{"claim: an attributes class that never came", "PersistentVolumeClaim",
			c("", `,"volumeAttributesClassName":"a"`, ""), c("", "", ""), ""},
		{"claim: an attributes class in use", "PersistentVolumeClaim",
			c("", `,"volumeAttributesClassName":"a"`, `,"currentVolumeAttributesClassName":"a"`), c("", "", ""),
			"spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"},
		{"volume: a secret to grow with", "PersistentVolume", v("", ""), v(`,"controllerExpandSecretRef":{"name":"a","namespace":"b"}`, ""), ""},
		{"volume: a beta label's successor", "PersistentVolume", v("", beta),
			v("", strings.Replace(beta, "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone", 1)), ""},
		{"volume: another mode", "PersistentVolume", v("", ""), v("", `,"volumeMode":"Block"`), `volumeMode: Invalid value: "Block": field is immutable`},
		{"node: an address twice", "Node", `{}`,
			`{"status":{"addresses":[{"type":"InternalIP","address":"1.1.1.1"},{"type":"InternalIP","address":"1.1.1.1"}]}}`, ""},
		{"node: another external id", "Node", `{"spec":{"externalID":"a"}}`, `{"spec":{"externalID":"b"}}`, "spec.externalID: Forbidden: may not be updated"},
		{"service: the second address goes without a word", "Service", dual,
			`{"spec":{"ports":[{"port":1}],"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"PreferDualStack"}}`,
			"spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP\n" +
				"spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily"},
		{"service: a node port kept by the port's name", "Service",
			`{"spec":{"type":"NodePort","clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ports":[{"name":"a","port":1,"nodePort":30000},{"name":"b","port":2,"nodePort":30001}]}}`,
			`{"spec":{"type":"NodePort","ports":[{"name":"b","port":3},{"name":"c","port":4,"nodePort":30000}]}}`, ""},
		{"quota: scopes in another order", "ResourceQuota",
			`{"spec":{"scopes":["BestEffort","PriorityClass"]}}`, `{"spec":{"scopes":["PriorityClass","BestEffort"]}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := resource(t, c.kind)
			old, obj := decoded(t, r, c.old), decoded(t, r, c.object)
			if r.Strategy.PrepareUpdate != nil {
				r.Strategy.PrepareUpdate(now, obj, old)
			}
			compareErrors(t, r.Strategy.ValidateUpdate(obj, old), c.errors)
			if s, ok := obj.(*corev1.Service); ok && strings.Contains(c.name, "kept by") && s.Spec.Ports[0].NodePort != 30001 {
				t.Errorf("node port %d, want the old one", s.Spec.Ports[0].NodePort)
			}
		})
	}
}

// A node's status is its own; the main resource does not change it.
func TestNodeStatusUpdate(t *testing.T) {
	r := resource(t, "Node")
	status := r.Subresource("status").Update
	old := decoded(t, r, `{}`)
	obj := decoded(t, r, `{"status":{"addresses":[{"type":"InternalIP","address":"1.1.1.1"},{"type":"InternalIP","address":"1.1.1.1"}]}}`)
	status.PrepareUpdate(now, obj, old)
	compareErrors(t, status.ValidateUpdate(obj, old), `status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"1.1.1.1"}`)
}

// The status of a claim tells what a resize is at.
func TestClaimStatus(t *testing.T) {
	r := resource(t, "PersistentVolumeClaim")
	status := r.Subresource("status").Update
	old := decoded(t, r, `{"spec":{"accessModes":["ReadWriteOnce"]}}`)
	obj := decoded(t, r, `{"metadata":{"resourceVersion":"1"},"status":{"capacity":{"storage":"-1"},
		"allocatedResourceStatuses":{"storage":"x","kubernetes.io/x":"y"},"allocatedResources":{"a b":"1"}}}`)
	status.PrepareUpdate(now, obj, old)
	compareErrors(t, status.ValidateUpdate(obj, old), strings.Join([]string{
		`status.capacity[storage]: Invalid value: -1: must be a valid resource quantity`,
		`status.allocatedResourceStatus[kubernetes.io/x]: Unsupported value: "kubernetes.io/x": supported values: "storage"`,
		`status.allocatedResourceStatus[storage]: Unsupported value: "x": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"`,
		`status.allocatedResources[a b]: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
	}, "\n"))
}
