package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	namespace = "bench"
	// placeholder stands in templates where a pod's number goes: the same
	// length for every pod, so that bytes can be replaced in protobuf too.
	placeholder = "0000000000"
	protobuf    = "application/vnd.kubernetes.protobuf"
	jsonType    = "application/json"
)

// template makes pods that differ in name and UID.
type template []byte

func (t template) pod(prefix byte, n int) []byte {
	return bytes.ReplaceAll(t, []byte(placeholder), fmt.Appendf(nil, "%c%09d", prefix, n))
}

// templateOf makes a template of the bytes of one pod.
func templateOf(pod []byte, prefix byte, n int) template {
	return bytes.ReplaceAll(pod, fmt.Appendf(nil, "%c%09d", prefix, n), []byte(placeholder))
}

func podName(prefix byte, n int) string { return fmt.Sprintf("pod-%c%09d", prefix, n) }

// storedPod is a running pod as it lies in etcd, about 3 KB.
func storedPod() template {
	p := newPod()
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	p.UID, p.CreationTimestamp, p.Generation = types.UID("0a1b2c3d-1111-4222-8333-44"+placeholder), created, 1
	p.Spec.NodeName = "node-0017.example.internal"
	p.Status = runningStatus(created)
	p.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &created, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(controllerFields)}},
		{Manager: "kubelet", Operation: "Update", APIVersion: "v1", Time: &created, FieldsType: "FieldsV1", Subresource: "status", FieldsV1: &metav1.FieldsV1{Raw: []byte(kubeletFields)}},
	}
	return envelope(p)
}

// newPodProtobuf and newPodJSON are the bodies of creations.
func newPodProtobuf() template { return envelope(newPod()) }

func newPodJSON() template {
	p := newPod()
	p.APIVersion, p.Kind = "v1", "Pod"
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return b
}

// envelope is what Kubernetes puts around protobuf in etcd and in bodies.
func envelope(p *corev1.Pod) template {
	raw, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Raw: raw}
	b, err := u.Marshal()
	if err != nil {
		panic(err)
	}
	return append([]byte("k8s\x00"), b...)
}

// newPod is a pod as a controller creates it, with every default set: a web
// server and a proxy beside it, with probes, environment and mounts.
func newPod() *corev1.Pod {
	yes, no, grace, priority := true, false, int64(30), int32(0)
	preempt := corev1.PreemptLowerPriority
	seconds := int64(300)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pod-" + placeholder, Namespace: namespace, GenerateName: "frontend-6d8f7c9b5-",
			Labels:      map[string]string{"app.kubernetes.io/name": "frontend", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "6d8f7c9b5", "tier": "web"},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "1f0c7a5d1b7e4bd3a1c9e6a5b2d4f8e0"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "frontend-6d8f7c9b5", UID: "5d3a1f7e-9d1c-4b6a-8a52-0b8d7e6f5a4c", Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			Containers:    []corev1.Container{container("web", 8080), container("proxy", 9090)},
			Volumes:       volumes(),
			RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace, DNSPolicy: corev1.DNSClusterFirst,
			ServiceAccountName: "default", DeprecatedServiceAccount: "default", AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{}, SchedulerName: "default-scheduler",
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds},
				{Key: "node.kubernetes.io/unreachable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds},
			},
			Priority: &priority, EnableServiceLinks: &yes, PreemptionPolicy: &preempt,
		},
	}
}

func container(name string, port int32) corev1.Container {
	no := false
	return corev1.Container{
		Name: name, Image: "registry.example.com/shop/" + name + ":v1.14.2", ImagePullPolicy: corev1.PullIfNotPresent,
		Args:  []string{"--listen=:8080", "--config=/etc/shop/config.yaml"},
		Ports: []corev1.ContainerPort{{Name: "http-" + name, ContainerPort: port, Protocol: corev1.ProtocolTCP}},
		Env: []corev1.EnvVar{
			{Name: "LOG_LEVEL", Value: "info"}, {Name: "REGION", Value: "eu-central-1"}, {Name: "UPSTREAM", Value: "http://backend.shop.svc:8080"},
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
		VolumeMounts:             []corev1.VolumeMount{{Name: "config", MountPath: "/etc/shop", ReadOnly: true}, {Name: "scratch", MountPath: "/tmp"}},
		LivenessProbe:            probe("/healthz", port),
		ReadinessProbe:           probe("/readyz", port),
		SecurityContext:          &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		TerminationMessagePath:   "/dev/termination-log",
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}
}

func probe(path string, port int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:        corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port), Scheme: corev1.URISchemeHTTP}},
		InitialDelaySeconds: 5, TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

func volumes() []corev1.Volume {
	mode := int32(0o644)
	return []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "frontend"}, DefaultMode: &mode}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
}

func runningStatus(at metav1.Time) corev1.PodStatus {
	s := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: "10.0.3.17", HostIPs: []corev1.HostIP{{IP: "10.0.3.17"}},
		PodIP: "10.244.17.23", PodIPs: []corev1.PodIP{{IP: "10.244.17.23"}}, StartTime: &at, QOSClass: corev1.PodQOSBurstable,
	}
	for _, t := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: at})
	}
	for i, name := range []string{"web", "proxy"} {
		started := true
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
			Name: name, Ready: true, Started: &started, Image: "registry.example.com/shop/" + name + ":v1.14.2",
			ImageID:     fmt.Sprintf("registry.example.com/shop/%s@sha256:%064x", name, i+7),
			ContainerID: fmt.Sprintf("containerd://%054x", i+3) + placeholder,
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
		})
	}
	return s
}

const (
	controllerFields = `{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{}},"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"5d3a1f7e-9d1c-4b6a-8a52-0b8d7e6f5a4c\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:env":{},"f:image":{},"f:name":{},"f:ports":{},"f:resources":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}`
	kubeletFields    = `{"f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:startTime":{}}}`
)
