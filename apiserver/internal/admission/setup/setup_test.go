package setup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func deps(w *admissiontest.World) Deps {
	return Deps{Reader: w.Store, Store: w.Store, Authorizer: admissiontest.Authorizer{}, Scheme: w.Scheme}
}

func TestNames(t *testing.T) {
	w := admissiontest.New(t)
	c, err := Build(&Options{Disable: []string{"ServiceAccount"}, Enable: []string{"NodeRestriction", "AlwaysDeny", "ValidatingAdmissionWebhook"}}, deps(w))
	if err != nil {
		t.Fatal(err)
	}
	want := "NamespaceLifecycle LimitRanger NodeRestriction TaintNodesByCondition PodSecurity Priority DefaultTolerationSeconds " +
		"DefaultStorageClass StorageObjectInUseProtection PersistentVolumeClaimResize RuntimeClass CertificateApproval CertificateSigning " +
		"ClusterTrustBundleAttest CertificateSubjectRestriction DefaultIngressClass PodTopologyLabels ResourceQuota AlwaysDeny"
	if got := strings.Join(c.Names(), " "); got != want {
		t.Errorf("plugins\n%s\nwant\n%s", got, want)
	}
	for _, o := range []Options{
		{Enable: []string{"Nope"}}, {Disable: []string{"Nope"}},
		{Enable: []string{"LimitRanger"}, Disable: []string{"LimitRanger"}},
		{Enable: []string{"EventRateLimit"}}, // needs limits
		{Enable: []string{"ImagePolicyWebhook"}},
	} {
		if _, err := Build(&o, deps(w)); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	_, err = Build(&Options{Enable: []string{"Nope"}}, deps(w))
	if err == nil || !strings.Contains(err.Error(), `plugin "Nope" is unknown; the plugins are AlwaysAdmit, `) {
		t.Errorf("the error does not name the plugins: %v", err)
	}
}

// TestNamesAgree compares each plugin's name with the list's.
func TestNamesAgree(t *testing.T) {
	w := admissiontest.New(t)
	d := deps(w)
	config := map[string]string{"EventRateLimit": "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\nlimits: [{type: Server, qps: 1, burst: 1}]"}
	for _, c := range (&builder{&Options{}, &d}).plugins() {
		if c.make == nil {
			continue
		}
		p, err := c.make([]byte(config[c.name]))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if p.Name() != c.name {
			t.Errorf("%s calls itself %s", c.name, p.Name())
		}
	}
}

func TestConfigFile(t *testing.T) {
	w := admissiontest.New(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("psa.yaml", "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\ndefaults: {enforce: restricted}\n")
	for _, c := range []struct {
		name, text, err string
	}{
		{"in place", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: baseline, enforce-version: v1.30}, exemptions: {namespaces: [a]}}}]}`, ""},
		{"a file", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity, path: psa.yaml}]}`, ""},
		{"quota", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: ResourceQuota, configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: ResourceQuotaConfiguration, limitedResources: [{resource: pods, matchScopes: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]}]}}]}`, ""},
		{"unknown plugin", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: Nope}]}`, `"Nope" is unknown`},
		{"unknown field", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugin: []}`, "unknown field"},
		{"bad level", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: no}}}]}`, "defaults.enforce"},
		{"twice", `{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity}, {name: PodSecurity}]}`, "twice"},
		{"wrong kind", `{apiVersion: v1, kind: Pod}`, "no kind"},
	} {
		_, err := Build(&Options{ConfigFile: write("admission.yaml", c.text)}, deps(w))
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %s", c.name, err, c.err)
		}
	}
}

func TestOrderOfNames(t *testing.T) {
	w := admissiontest.New(t)
	d := deps(w)
	var names []string
	for _, c := range (&builder{&Options{}, &d}).plugins() {
		names = append(names, c.name)
	}
	if last := names[len(names)-2:]; !slices.Equal(last, []string{"ResourceQuota", "AlwaysDeny"}) {
		t.Errorf("the last are %v", last)
	}
}

// BenchmarkPodCreate is the whole chain of default plugins for a pod to which
// nothing applies but its account and the defaults.
func BenchmarkPodCreate(b *testing.B) {
	w := admissiontest.New(b,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{corev1.LabelMetadataName: "a"}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "default"}},
	)
	c, err := Build(&Options{}, deps(w))
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	pods := w.Resource("", "pods")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
	a := &admission.Attributes{
		Operation: admission.Create, Resource: pods, Namespace: "a", Name: "p", Object: pod, User: admissiontest.Admin,
		Warn: func(string) {}, Annotate: func(string, string) {},
	}
	b.ReportAllocs()
	for b.Loop() {
		pod.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
		if err := c.Admit(ctx, a); err != nil {
			b.Fatal(err)
		}
		if err := c.Validate(ctx, a); err != nil {
			b.Fatal(err)
		}
	}
}
