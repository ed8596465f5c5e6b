package podsecurity

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func namespace(labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		n.Labels["pod-security.kubernetes.io/"+labels[i]] = labels[i+1]
	}
	return n
}

func pod(name string, edit ...func(*corev1.PodSpec)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	for _, e := range edit {
		e(&p.Spec)
	}
	return p
}

func hostNetwork(s *corev1.PodSpec) { s.HostNetwork = true }

func plugin(t *testing.T, w *admissiontest.World, c *Config) *Plugin {
	if c == nil {
		c = DefaultConfig()
	}
	p, err := New(c, w.Store, w.Resource("", "namespaces"), w.Resource("", "pods"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEnforce(t *testing.T) {
	class := "vm"
	exempting := DefaultConfig()
	exempting.Exemptions = Exemptions{Usernames: []string{"boss"}, RuntimeClasses: []string{class}}
	exemptNamespace := DefaultConfig()
	exemptNamespace.Exemptions.Namespaces = []string{"a"}
	const refusal = `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`
	for _, x := range []struct {
		name   string
		ns     *corev1.Namespace
		config *Config
		do     func(w *admissiontest.World) *admissiontest.Request
		want   string
		note   string // a key and value of the audit annotations
	}{
		{"no labels", namespace(), nil, create(pod("p", hostNetwork)), "", ""},
		{"baseline", namespace("enforce", "baseline"), nil, create(pod("p", hostNetwork)), refusal, "enforce-policy=baseline:latest"},
		{"a version", namespace("enforce", "baseline", "enforce-version", "v1.25"), nil, create(pod("p", hostNetwork)), `violates PodSecurity "baseline:v1.25": host namespaces (hostNetwork=true)`, ""},
		{"a typo restricts", namespace("enforce", "basline"), nil, create(pod("p", func(s *corev1.PodSpec) { s.HostPID = true })), `restricted:latest": host namespaces (hostPID=true), `, "error=Failed to parse policy"},
		{"exempt user", namespace("enforce", "baseline"), exempting, as("boss", create(pod("p", hostNetwork))), "", "exempt=user"},
		{"exempt class", namespace("enforce", "baseline"), exempting, create(pod("p", hostNetwork, func(s *corev1.PodSpec) { s.RuntimeClassName = &class })), "", "exempt=runtimeClass"},
		{"exempt namespace", namespace("enforce", "baseline"), exemptNamespace, create(pod("p", hostNetwork)), "", "exempt=namespace"},
		{"labels of a bad pod", namespace("enforce", "baseline"), nil, func(w *admissiontest.World) *admissiontest.Request {
			now := pod("p", hostNetwork)
			now.Labels = map[string]string{"x": "y"}
			return w.Update(now, pod("p", hostNetwork), "")
		}, "", ""},
		{"image of a bad pod", namespace("enforce", "baseline"), nil, func(w *admissiontest.World) *admissiontest.Request {
			return w.Update(pod("p", hostNetwork, func(s *corev1.PodSpec) { s.Containers[0].Image = "j" }), pod("p", hostNetwork), "")
		}, refusal, ""},
		{"status of a bad pod", namespace("enforce", "baseline"), nil, func(w *admissiontest.World) *admissiontest.Request {
			return w.Update(pod("p", hostNetwork, func(s *corev1.PodSpec) { s.Containers[0].Image = "j" }), pod("p", hostNetwork), "status")
		}, "", ""},
		{"ephemeral container", namespace("enforce", "baseline"), nil, func(w *admissiontest.World) *admissiontest.Request {
			yes := true
			return w.Update(pod("p", func(s *corev1.PodSpec) {
				s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "i", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}}}
			}), pod("p"), "ephemeralcontainers")
		}, `privileged (container "e" must not set securityContext.privileged=true)`, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := admissiontest.New(t, x.ns)
			r := x.do(w)
			err := admissiontest.Run(plugin(t, w, x.config), r)
			switch {
			case x.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
				t.Errorf("%v, want %s", err, x.want)
			}
			if key, value, ok := strings.Cut(x.note, "="); ok && !strings.HasPrefix(r.Annotations["pod-security.kubernetes.io/"+key], value) {
				t.Errorf("annotations %v, want %s", r.Annotations, x.note)
			}
		})
	}
}

func create(p *corev1.Pod) func(w *admissiontest.World) *admissiontest.Request {
	return func(w *admissiontest.World) *admissiontest.Request { return w.Create(p) }
}

func as(user string, do func(w *admissiontest.World) *admissiontest.Request) func(w *admissiontest.World) *admissiontest.Request {
	return func(w *admissiontest.World) *admissiontest.Request { return do(w).As(user) }
}

func TestWorkloads(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "a", Name: "x"}
	template := corev1.PodTemplateSpec{Spec: pod("", hostNetwork).Spec}
	for _, o := range []scheme.Object{
		&corev1.PodTemplate{ObjectMeta: meta, Template: template},
		&corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Template: &template}},
		&appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Template: template}},
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Template: template}},
		&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Template: template}},
		&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Template: template}},
		&batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: template}},
		&batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}},
	} {
		w := admissiontest.New(t, namespace("enforce", "baseline", "audit", "baseline"))
		r := w.Create(o)
		if err := admissiontest.Run(plugin(t, w, nil), r); err != nil {
			t.Errorf("%T is refused: %v", o, err)
		}
		const want = `would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`
		if !slices.Equal(r.Warnings, []string{want}) || r.Annotations["pod-security.kubernetes.io/audit-violations"] != want {
			t.Errorf("%T: warnings %q, annotations %q", o, r.Warnings, r.Annotations)
		}
	}
}

func TestNamespaceLabels(t *testing.T) {
	w := admissiontest.New(t, namespace(), pod("z"), pod("b", hostNetwork), pod("a", hostNetwork), pod("c", hostNetwork), pod("d", func(s *corev1.PodSpec) { s.HostPID = true }))
	p := plugin(t, w, nil)
	admissiontest.Refused(t, admissiontest.Run(p, w.Create(namespace("warn", "x"))), `metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "x": must be one of privileged, baseline, restricted`)
	admissiontest.Refused(t, admissiontest.Run(p, w.Update(namespace("enforce", "x"), namespace(), "")), `Invalid value: "x": must be one of privileged, baseline, restricted`)
	admissiontest.Refused(t, admissiontest.Run(p, w.Update(namespace("enforce", "x"), namespace("warn", "y"), "")), "")
	for _, x := range []struct {
		now, old *corev1.Namespace
		want     []string
	}{
		{namespace("enforce", "baseline"), namespace(), []string{
			`existing pods in namespace "a" violate the new PodSecurity enforce level "baseline:latest"`,
			"a (and 3 other pods): host namespaces",
		}},
		{namespace("enforce", "baseline"), namespace("enforce", "restricted"), nil},
		{namespace("enforce", "baseline"), namespace("enforce", "baseline"), nil},
		{namespace("warn", "restricted"), namespace(), nil},
		{namespace("enforce", "privileged", "enforce-version", "v1.20"), namespace("enforce", "baseline"), nil},
	} {
		r := w.Update(x.now, x.old, "")
		if err := admissiontest.Run(p, r); err != nil {
			t.Error(err)
		}
		if !slices.Equal(r.Warnings, x.want) {
			t.Errorf("%v after %v: warnings %q, want %q", x.now.Labels, x.old.Labels, r.Warnings, x.want)
		}
	}
	exempt := DefaultConfig()
	exempt.Exemptions.Namespaces = []string{"a"}
	r := w.Update(namespace("enforce", "restricted"), namespace(), "")
	admissiontest.Refused(t, admissiontest.Run(plugin(t, w, exempt), r), "")
	if len(r.Warnings) != 1 || r.Warnings[0] != `namespace "a" is exempt from Pod Security, and the policy (enforce=restricted:latest, warn=restricted:latest) will be ignored` {
		t.Errorf("warnings %q", r.Warnings)
	}
}
