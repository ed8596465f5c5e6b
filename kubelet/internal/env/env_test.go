package env

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"xebec.dev/kubelet/internal/downward"
)

func TestExpand(t *testing.T) {
	lookup := Lookup([]Variable{{"A", "1"}, {"B", "$(A)"}, {"EMPTY", ""}, {"a.b-c", "odd"}})
	for text, want := range map[string]string{
		"$(A)": "1", "x$(A)y$(A)": "x1y1", "$$(A)": "$(A)", "$$$(A)": "$1", "$$$$(A)": "$$(A)", "$(NONE)": "$(NONE)",
		"$(B)": "$(A)", "$A": "$A", "$": "$", "$$": "$", "$(A": "$(A", "$(": "$(", "$()": "$()", "[$(EMPTY)]": "[]",
		"$(a.b-c)": "odd", "$($(A))": "$($(A))", "a$(A)$": "a1$", "": "", "100%": "100%", "$ (A)": "$ (A)", "é$(A)": "é1",
	} {
		if have := Expand(text, lookup); have != want {
			t.Errorf("%q: have %q, want %q", text, have, want)
		}
	}
	if have := strings.Join(Command([]string{"echo", "$(A)", "$$(A)"}, []Variable{{"A", "x y"}}), "|"); have != "echo|x y|$(A)" {
		t.Error(have)
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A)$$(A)$($$")
	f.Fuzz(func(t *testing.T, text string) {
		none := func(string) (string, bool) { return "", false }
		if !strings.Contains(text, "$$") && Expand(text, none) != text {
			t.Errorf("%q is changed without a variable", text)
		}
		escaped := strings.ReplaceAll(text, "$", "$$")
		if have := Expand(escaped, func(string) (string, bool) { return "!", true }); have != text {
			t.Errorf("%q, escaped, is %q", text, have)
		}
	})
}

// kept are objects by name.
type kept map[string]map[string]string

func (k kept) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	d, ok := k["configmap/"+name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: d}, nil
}

func (k kept) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	d, ok := k["secret/"+name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{}}
	for n, v := range d {
		s.Data[n] = []byte(v)
	}
	return s, nil
}

var objects = kept{
	"configmap/c": {"KEY": "from c", "dotted.key": "d", "1digit": "1", "bad=key": "x", "ÄÖ": "y"},
	"configmap/d": {"KEY": "from d"},
	"secret/s":    {"PASSWORD": "p$(X)w", "KEY": "from s"},
}

func container(t *testing.T, text string) *corev1.Container {
	t.Helper()
	var c corev1.Container
	if err := yaml.UnmarshalStrict([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	c.Name = "c"
	return &c
}

func makeService(namespace, name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
}

func thePod() downward.Pod {
	no := false
	return downward.Pod{
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a/b": "c"}},
			Spec:       corev1.PodSpec{NodeName: "n", ServiceAccountName: "sa", EnableServiceLinks: &no, Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1500m")}, Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("32Mi")}}}}},
		},
		IPs: []string{"10.0.0.1", "fd00::1"}, HostIPs: []string{"192.0.2.1"},
		Allocatable: corev1.ResourceList{"memory": resource.MustParse("2Gi"), "cpu": resource.MustParse("4"), "ephemeral-storage": resource.MustParse("10Gi")},
	}
}

func TestMake(t *testing.T) {
	files := func(volume, path string) ([]byte, error) {
		if volume == "v" && path == "env" {
			return []byte("# made by init\nA='1'\nB='two\nlines'\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	for _, c := range []struct{ name, container, want string }{
		{"values refer to what is before them", `{env: [{name: A, value: "1"}, {name: B, value: "$(A)$(C)"}, {name: C, value: "3"}, {name: A, value: "x$(A)"}]}`,
			"A=x1 B=1$(C) C=3"},
		{"keys of objects", `{env: [{name: X, value: "1"}, {name: A, valueFrom: {configMapKeyRef: {name: c, key: KEY}}}, {name: B, valueFrom: {secretKeyRef: {name: s, key: PASSWORD}}}, {name: D, value: "[$(B)]"}]}`,
			"X=1 A=from c B=p$(X)w D=[p$(X)w]"},
		{"all keys, later ones first", `{envFrom: [{configMapRef: {name: c}}, {configMapRef: {name: d}}, {prefix: "P_", secretRef: {name: s}}], env: [{name: ALL, value: "$(KEY)-$(P_KEY)"}, {name: KEY, value: own}]}`,
			`1digit=1 KEY=own dotted.key=d P_KEY=from s P_PASSWORD=p$(X)w ALL=from d-from s warning: Keys ["bad=key" "ÄÖ"] from the EnvFrom configMap ns/c were skipped since they are considered invalid environment variable names.`},
		{"prefix of digits and signs", `{envFrom: [{prefix: "1-!~", configMapRef: {name: d}}]}`, "1-!~KEY=from d"},
		{"fields", `{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}, {name: C, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}, {name: D, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}, {name: E, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: F, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['a/b']"}}}, {name: G, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}, {name: H, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]}`,
			"A=p B=web C=10.0.0.1,fd00::1 D=192.0.2.1 E=n F=c G=sa H=u"},
		{"resources", `{env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: B, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}, {name: C, valueFrom: {resourceFieldRef: {resource: limits.memory}}}, {name: D, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1Mi}}}, {name: E, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage, divisor: 3Gi}}}, {name: F, valueFrom: {resourceFieldRef: {resource: requests.hugepages-2Mi}}}]}`,
			"A=2 B=250 C=2147483648 D=32 E=4 F=0"},
		{"optional things", `{envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}], env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: x, optional: true}}}, {name: B, valueFrom: {secretKeyRef: {name: s, key: x, optional: true}}}, {name: C, valueFrom: {fileKeyRef: {volumeName: v, path: none, key: x, optional: true}}}, {name: D, value: d}]}`, "D=d"},
		{"files", `{env: [{name: X, valueFrom: {fileKeyRef: {volumeName: v, path: env, key: A}}}, {name: Z, valueFrom: {fileKeyRef: {volumeName: v, path: env, key: B}}}]}`, "X=1 Z=two\nlines"},
		{"", `{envFrom: [{configMapRef: {name: none}}]}`, `error: configmap "none" not found`},
		{"", `{env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: x}}}]}`, `error: secret "none" not found`},
		{"", `{env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: x}}}]}`, "error: couldn't find key x in ConfigMap ns/c"},
		{"", `{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: x}}}]}`, "error: couldn't find key x in Secret ns/s"},
		{"", `{env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]}`, "error: unsupported fieldPath: spec.x"},
		{"", `{env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, containerName: z}}}]}`, "error: container z not found"},
		{"", `{env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.x}}}]}`, "error: unsupported container resource: limits.x"},
		{"", `{env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: env, key: Z}}}]}`, `error: environment variable key "Z" not found in file "env"`},
	} {
		r, err := Make(t.Context(), container(t, c.container), objects, Options{Pod: thePod(), File: files})
		have := text(r)
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != c.want {
			t.Errorf("%s %s\nhave %s\nwant %s", c.name, c.container, have, c.want)
		}
	}
}

func text(r Result) string {
	var parts []string
	for _, v := range r.Variables {
		parts = append(parts, v.Name+"="+v.Value)
	}
	for _, w := range r.Warnings {
		parts = append(parts, "warning: "+w)
	}
	return strings.Join(parts, " ")
}

func TestServices(t *testing.T) {
	all := []*corev1.Service{
		makeService("default", "kubernetes", "10.96.0.1", corev1.ServicePort{Name: "https", Port: 443}),
		makeService("ns", "foo-service", "10.96.0.9", corev1.ServicePort{Port: 8765, Protocol: corev1.ProtocolTCP}, corev1.ServicePort{Name: "dns-udp", Port: 53, Protocol: corev1.ProtocolUDP}),
		makeService("ns", "headless", "None", corev1.ServicePort{Port: 1}), makeService("ns", "external", ""), makeService("other", "x", "10.96.0.3", corev1.ServicePort{Port: 1}),
		makeService("ns", "six", "fd00::9", corev1.ServicePort{Port: 80}),
	}
	const api = "KUBERNETES_SERVICE_HOST=10.96.0.1 KUBERNETES_SERVICE_PORT=443 KUBERNETES_SERVICE_PORT_HTTPS=443 KUBERNETES_PORT=tcp://10.96.0.1:443 KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443 KUBERNETES_PORT_443_TCP_PROTO=tcp KUBERNETES_PORT_443_TCP_PORT=443 KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1"
	const foo = "FOO_SERVICE_SERVICE_HOST=10.96.0.9 FOO_SERVICE_SERVICE_PORT=8765 FOO_SERVICE_SERVICE_PORT_DNS_UDP=53 FOO_SERVICE_PORT=tcp://10.96.0.9:8765 FOO_SERVICE_PORT_8765_TCP=tcp://10.96.0.9:8765 FOO_SERVICE_PORT_8765_TCP_PROTO=tcp FOO_SERVICE_PORT_8765_TCP_PORT=8765 FOO_SERVICE_PORT_8765_TCP_ADDR=10.96.0.9 FOO_SERVICE_PORT_53_UDP=udp://10.96.0.9:53 FOO_SERVICE_PORT_53_UDP_PROTO=udp FOO_SERVICE_PORT_53_UDP_PORT=53 FOO_SERVICE_PORT_53_UDP_ADDR=10.96.0.9"
	const six = "SIX_SERVICE_HOST=fd00::9 SIX_SERVICE_PORT=80 SIX_PORT=tcp://[fd00::9]:80 SIX_PORT_80_TCP=tcp://[fd00::9]:80 SIX_PORT_80_TCP_PROTO=tcp SIX_PORT_80_TCP_PORT=80 SIX_PORT_80_TCP_ADDR=fd00::9"
	own := append(all, makeService("ns", "kubernetes", "10.96.0.7"))
	for _, c := range []struct {
		of        []*corev1.Service
		namespace string
		links     bool
		want      string
	}{
		{all, "ns", false, api}, {all, "ns", true, foo + " " + api + " " + six}, {all, "default", true, api}, {own, "ns", false, api},
		{own, "ns", true, foo + " " + six},
	} {
		if have := text(Result{Variables: Services(c.of, c.namespace, c.links)}); have != c.want {
			t.Errorf("%s %v\nhave %s\nwant %s", c.namespace, c.links, have, c.want)
		}
	}
	// A container's own variables count, and may refer to services'.
	r, err := Make(t.Context(), container(t, `{env: [{name: URL, value: "$(KUBERNETES_PORT)/x"}, {name: KUBERNETES_SERVICE_HOST, value: mine}]}`), objects, Options{Pod: thePod(), Services: all[:1]})
	if have := text(r); err != nil || !strings.HasPrefix(have, "URL=tcp://10.96.0.1:443/x KUBERNETES_SERVICE_HOST=mine KUBERNETES_SERVICE_PORT=443") {
		t.Errorf("%s %v", have, err)
	}
}

func TestParseFile(t *testing.T) {
	for file, want := range map[string]string{
		"K='v'": "v", "K='v'\n": "v", "# c\n\n  K='a b' # c\n": "a b", "K='1'\nK='2'": "2", "K='a\nb=c\n'\nZ='x'": "a\nb=c\n", "Z='1'": "none",
		"K=v":        "error: line 1: the value of K must be in single quotes",
		"Z='1'\nK='": "error: line 2: the value of K has no closing quote",
		"nonsense":   "error: line 1: want NAME='value'",
		"K ='v'":     "error: line 1: want NAME='value'",
		"K='v' x":    "error: line 1: unexpected text behind the value of K",
		"K='it''s'":  "error: line 1: unexpected text behind the value of K",
		"":           "none",
	} {
		v, ok, err := ParseFile(file, "K")
		have := v
		switch {
		case err != nil:
			have = "error: " + err.Error()
		case !ok:
			have = "none"
		}
		if have != want {
			t.Errorf("%q: have %q, want %q", file, have, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("A='1'\n# x\nB='2\n3'\n", "B")
	f.Fuzz(func(t *testing.T, text, key string) {
		v, ok, err := ParseFile(text, key)
		if err == nil && ok && !strings.Contains(text, fmt.Sprintf("%s='%s'", key, v)) {
			t.Errorf("%q has no %s=%q", text, key, v)
		}
	})
}
