package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
)

// podFromYAML makes a defaulted and prepared pod of a spec.
func podFromYAML(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	if len(p.Spec.Containers) == 0 {
		p.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
	}
	DefaultPod(p)
	return p
}

const container = "containers: [{name: c, image: i, "

// TestPodRules has rules that no recording covers: the errors of a spec, one a
// line, "" when there are none.
func TestPodRules(t *testing.T) {
	for name, c := range map[string]struct{ spec, want string }{
		"fileKeyRef": {
			container + "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: a/b, key: K}}}]}]\nvolumes: [{name: v, emptyDir: {}}]", "",
		},
		"fileKeyRef to another volume": {
			container + "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: ../b, key: ''}}}]}]\nvolumes: [{name: v, hostPath: {path: /x}}]",
			`spec.containers[0].env[0].valueFrom.fileKeyRef.key: Required value
spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: "../b": must not contain '..'
spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "v": referenced volume must be of type emptyDir`,
		},
		"env field without subscript": {
			container + "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]}]",
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
		},
		"env field unknown": {
			container + "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.foo}}}]}]",
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": error converting fieldPath: field label not supported: spec.foo`,
		},
		"divisor": {
			container + "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2m}}}]}]",
			`spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`,
		},
		"keys of config maps": {
			container + "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: 'a b'}}}], envFrom: [{}, {prefix: 'a=', secretRef: {name: ''}}]}]",
			`spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
spec.containers[0].envFrom: Invalid value: "": must specify one of: ` + "`configMapRef` or `secretRef`" + `
spec.containers[0].envFrom[1].prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='
spec.containers[0].envFrom[1].secretRef.name: Required value`,
		},
		"privileged propagation": {
			container + "volumeMounts: [{name: v, mountPath: /x, mountPropagation: Bidirectional, subPath: /a, subPathExpr: ../b}]}]\nvolumes: [{name: v, emptyDir: {}}]",
			`spec.containers[0].volumeMounts[0].subPath: Invalid value: "/a": must be a relative path
spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "../b": subPathExpr and subPath are mutually exclusive
spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "../b": must not contain '..'
spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers`,
		},
		"two volumes of a name": {
			"volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]",
			`spec.volumes[1].name: Duplicate value: "v"`,
		},
		"a long claim name": {
			"volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {name: x}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set for an ephemeral volume`,
		},
		"trust bundles": {
			"volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {name: a, signerName: b, path: x}}, {clusterTrustBundle: {name: 'a.b:c', path: x}}, {clusterTrustBundle: {signerName: nope, path: ''}}]}}]",
			`spec.volumes[0].projected.sources[0].clusterTrustBundle: Invalid value: {"Name":"a","SignerName":"b","LabelSelector":null,"Optional":null,"Path":"x"}: only one of name and signerName may be used
spec.volumes[0].projected: Invalid value: "x": conflicting duplicate paths
spec.volumes[0].projected.sources[2].clusterTrustBundle.signerName: Invalid value: "nope": must be a fully qualified domain and path of the form 'example.com/signer-name'
spec.volumes[0].projected.sources[2].clusterTrustBundle.path: Required value`,
		},
		"pod certificates": {
			"volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: a.b/c, keyType: ED25519, credentialBundlePath: x}}, {podCertificate: {signerName: a.b/c, keyType: RSA, maxExpirationSeconds: 1}}]}}]",
			`spec.volumes[0].projected.sources[1].podCertificate.keyType: Unsupported value: "RSA": supported values: "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"
spec.volumes[0].projected.sources[1].podCertificate.maxExpirationSeconds: Invalid value: 1: if provided, maxExpirationSeconds must be >= 3600
spec.volumes[0].projected.sources[1].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath`,
		},
		"restart rules": {
			container + "restartPolicy: Never, restartPolicyRules: [{action: Dance, exitCodes: {operator: Is, values: []}}, {action: Restart}]}]",
			`spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Dance": supported values: "Restart"
spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"
spec.containers[0].restartPolicyRules[0].exitCodes.values: Required value: must be specified
spec.containers[0].restartPolicyRules[1].exitCodes: Required value: must be specified`,
		},
		"resize policy": {
			container + "resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: cpu, restartPolicy: Maybe}, {resourceName: disk, restartPolicy: NotRequired}]}]",
			`spec.containers[0].resizePolicy[1]: Duplicate value: "cpu"
spec.containers[0].resizePolicy: Unsupported value: "Maybe": supported values: "NotRequired", "RestartContainer"
spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"`,
		},
		"claims": {
			container + "resources: {claims: [{name: a}, {name: a, request: r}, {name: b}]}}]\nresourceClaims: [{name: a, resourceClaimName: x}]",
			`spec.containers[0].resources.claims[1]: Duplicate value: "a/r"
spec.containers[0].resources.claims[2]: Not found: "b": must be one of the names in pod.spec.resourceClaims: a`,
		},
		"hostname override": {
			"hostnameOverride: a.b\nhostNetwork: true\nsetHostnameAsFQDN: true",
			`spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true
spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true`,
		},
		"min domains": {
			"topologySpreadConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: ScheduleAnyway, minDomains: 0, nodeTaintsPolicy: x}]",
			`spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero
spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway
spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: "x": supported values: "Honor", "Ignore"`,
		},
		"windows user names": {
			container + `securityContext: {windowsOptions: {runAsUserName: 'a\b\c'}}}, {name: d, image: i, securityContext: {windowsOptions: {runAsUserName: 'a/b'}}}]`,
			`spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "a\\b\\c": runAsUserName cannot contain more than one backslash
spec.containers[1].securityContext.windowsOptions.runAsUserName: Invalid value: "a/b": runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`,
		},
		"privileged without escalation": {
			container + "securityContext: {privileged: true, allowPrivilegeEscalation: false}}]",
			"spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":null,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
		},
		"search paths": {
			"dnsConfig: {nameservers: ['1.1.1.1', '010.1.1.1', x, '::1'], searches: ['a b'], options: [{value: '1'}]}",
			`spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","010.1.1.1","x","::1"]: must not have more than 3 nameservers
spec.dnsConfig.nameservers[1]: Invalid value: "010.1.1.1": must not have leading 0s
spec.dnsConfig.nameservers[2]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
spec.dnsConfig.searches[0]: Invalid value: "a b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')
spec.dnsConfig.options[0]: Required value: must not be empty`,
		},
		"pod claims at pod level": {
			"resources: {claims: [{name: a}], requests: {cpu: 2}, limits: {cpu: 1}}",
			`spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level
spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range ValidatePodCreate(podFromYAML(t, c.spec)) {
				got = append(got, e.Error())
			}
			if g := strings.Join(got, "\n"); g != c.want {
				t.Errorf("got\n%s\nwant\n%s", g, c.want)
			}
		})
	}
}

func TestPodWarnings(t *testing.T) {
	for name, c := range map[string]struct{ spec, want string }{
		"none": {"", ""},
		"env twice": {
			container + "env: [{name: A, value: x}, {name: A, value: y}, {name: A, value: $(A)z}]}]",
			`spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply`,
		},
		"pull secrets": {
			"imagePullSecrets: [{name: a}, {name: a}, {}]",
			"spec.imagePullSecrets[1].name: duplicate name \"a\"\nspec.imagePullSecrets[2].name: invalid empty name \"\"",
		},
		"null selectors": {
			"topologySpreadConstraints: [{maxSkew: 1, topologyKey: failure-domain.beta.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}]\naffinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: k}}]}}",
			`spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead
spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod
spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod`,
		},
		"overlapping files": {
			"volumes: [{name: foo, projected: {sources: [{configMap: {name: Test, items: [{key: foo, path: test}]}}, {serviceAccountToken: {path: test/file}}]}}]",
			`volume "foo" (Projected): overlapping paths: "test/file" (ServiceAccountToken) with "test" (ConfigMap "Test")`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(warnPod(podFromYAML(t, c.spec)), "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestPodQOS(t *testing.T) {
	for _, c := range []struct {
		spec string
		want corev1.PodQOSClass
	}{
		{"", corev1.PodQOSBestEffort},
		{container + "resources: {limits: {cpu: 1, memory: 1Gi}}}]", corev1.PodQOSGuaranteed},
		{container + "resources: {limits: {cpu: 1}}}]", corev1.PodQOSBurstable},
		{container + "resources: {limits: {cpu: 1, memory: 1Gi}}}]\ninitContainers: [{name: d, image: i}]", corev1.PodQOSBurstable},
		{container + "resources: {requests: {cpu: 0}}}]", corev1.PodQOSBestEffort},
		{container + "resources: {requests: {cpu: 1}}}]\nresources: {limits: {cpu: 2, memory: 2Gi}, requests: {cpu: 2, memory: 2Gi}}", corev1.PodQOSGuaranteed},
	} {
		if got := PodQOS(&podFromYAML(t, c.spec).Spec); got != c.want {
			t.Errorf("%s: %s, want %s", c.spec, got, c.want)
		}
	}
}

func TestGatedFields(t *testing.T) {
	spec := `
containers:
- name: c
  image: i
  lifecycle: {stopSignal: SIGTERM}
  livenessProbe: {grpc: {port: 1, mode: TLS}}
  volumeMounts: [{name: v, mountPath: /x, bindMountOptions: [noexec]}]
volumes: [{name: v, emptyDir: {mode: 511}}, {name: w, secret: {secretName: s, defaultUser: 5, items: [{key: k, path: p, user: 5}]}}]
schedulingGroup: {podGroupName: g}
`
	p := podFromYAML(t, spec)
	given := p.DeepCopy()
	dropGatedFields(&p.Spec, &given.Spec)
	if !samePodSpec(&p.Spec, &given.Spec) {
		t.Error("fields of the old pod were dropped")
	}
	dropGatedFields(&p.Spec, nil)
	c := &p.Spec.Containers[0]
	if c.Lifecycle != nil || c.LivenessProbe.GRPC.Mode != nil || c.VolumeMounts[0].BindMountOptions != nil ||
		p.Spec.Volumes[0].EmptyDir.Mode != nil || p.Spec.Volumes[1].Secret.DefaultUser != nil ||
		p.Spec.Volumes[1].Secret.Items[0].User != nil || p.Spec.SchedulingGroup != nil {
		t.Error("a field behind a closed gate was kept")
	}
}

func TestPodUpdateKeepsWhatWasAllowed(t *testing.T) {
	old := podFromYAML(t, "hostAliases: [{ip: 010.1.1.1, hostnames: [a]}]")
	p := old.DeepCopy()
	p.Labels = map[string]string{"a": "b"}
	if errs := ValidatePodUpdate(p, old); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := ValidatePodCreate(p); len(errs) == 0 {
		t.Error("a new pod may have an ambiguous address")
	}
}

func TestImageTag(t *testing.T) {
	sum := strings.Repeat("a", 64)
	for image, want := range map[string]string{
		"i": "latest", "a/b/c": "latest", "i:1": "1", "i:latest": "latest", "localhost:5000/a": "latest",
		"r.example:5000/a:v1": "v1", "i@sha256:" + sum: "", "i:t@sha256:" + sum: "t", "i@sha256:bb": "",
		"": "", "UPPER": "", "Host/a": "latest", "a b": "", "a//b": "", "a:": "", "-a": "", "a__b": "latest", "a___b": "",
		"a---b.c": "latest", sum: "", sum + ":1": "1", "[::1]:5000/a": "latest", "h:x/a": "",
	} {
		if got := imageTag(image); got != want {
			t.Errorf("%q: tag %q, want %q", image, got, want)
		}
	}
}

func TestPodRow(t *testing.T) {
	now := metav1.Now()
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	p := podFromYAML(t, "nodeName: m\ncontainers: [{name: a, image: i}, {name: b, image: i}]\ninitContainers: [{name: s, image: i, restartPolicy: Always}]")
	p.CreationTimestamp = ago(26 * time.Hour)
	p.Status = corev1.PodStatus{
		Phase:  corev1.PodRunning,
		PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
		InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "s", Started: new(true), Ready: true, RestartCount: 2,
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: ago(time.Hour)}},
		}},
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: "a", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			{Name: "b", RestartCount: 3, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: ago(5 * time.Minute)}}},
		},
	}
	check := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(fmt.Sprintln(podRow(p, now)...)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check("p 2/3 CrashLoopBackOff 5 (5m ago) 26h 10.0.0.1 m <none> <none>")
	p.DeletionTimestamp = &now
	check("p 2/3 Terminating 5 (5m ago) 26h 10.0.0.1 m <none> <none>")
	p.Status.Phase = corev1.PodFailed
	check("p 2/3 CrashLoopBackOff 5 (5m ago) 26h 10.0.0.1 m <none> <none>")
}

// TestPodHooksTakeAnything runs all rules over random pods: whatever is wrong
// with a pod, the server must not die of it.
func TestPodHooksTakeAnything(t *testing.T) {
	f := randfill.NewWithSeed(1).NilChance(0.5).NumElements(0, 2).MaxDepth(12)
	for range 300 {
		p, old := &corev1.Pod{}, &corev1.Pod{}
		f.Fill(&p.Spec)
		f.Fill(&p.Status)
		f.Fill(&old.Spec)
		f.Fill(&old.Status)
		f.Fill(&p.Annotations)
		DefaultPod(p)
		DefaultPod(old)
		ValidatePodCreate(p)
		warnPod(p)
		podRow(p, metav1.Now())
		preparePodCreate(scheme.Context{}, p)
		for _, e := range ValidatePodUpdate(p, old) {
			_ = e.Error()
		}
		validatePodStatusUpdate(p, old)
		q := p.DeepCopy()
		preparePodResize(scheme.Context{}, q, old)
		validatePodResize(q, old)
		q = p.DeepCopy()
		prepareEphemeralUpdate(scheme.Context{}, q, old)
		validateEphemeralUpdate(q, old)
		template := &corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
		DefaultPodTemplate(template)
		PreparePodTemplate(template, nil)
		ValidatePodTemplateSpecUpdate(template, &corev1.PodTemplateSpec{Spec: old.Spec}, field.NewPath("template"))
		WarnPodTemplate(field.NewPath("template"), template, nil)
	}
}
