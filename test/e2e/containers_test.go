package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// said is one container, and all that it should say. Cases share pods: a
// container costs little, a pod more.
type said struct {
	// id and what it is about; the container has the id as its name.
	id string
	// script for sh.
	script string
	// container is what else the container has, in YAML's flow style; volume is
	// the source of one that it finds at /v.
	container, volume string
	user              int64 // 0 is the image's, root
	want              string
}

func containerName(id string) string { return strings.ToLower(strings.Fields(id)[0]) }

// pod makes a pod of cases; more is what else its spec has.
func podOf(t *testing.T, name, more string, cases []said) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	parse := func(text string, to any) {
		if err := yaml.UnmarshalStrict([]byte(text), to); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	parse("{"+more+"}", &p.Spec)
	p.Name = name
	p.Labels = map[string]string{"of": name}
	p.Annotations = map[string]string{"builder": "bar"}
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	for _, c := range cases {
		k := corev1.Container{}
		parse("{"+c.container+"}", &k)
		k.Name = containerName(c.id)
		if k.Image == "" {
			k.Image = busybox
		}
		if c.script != "" {
			k.Command, k.Args = []string{"sh", "-c", c.script}, nil
		}
		if c.user != 0 {
			k.SecurityContext = &corev1.SecurityContext{RunAsUser: &c.user}
		}
		if c.volume != "" {
			v := corev1.Volume{Name: k.Name}
			parse(c.volume, &v.VolumeSource)
			p.Spec.Volumes = append(p.Spec.Volumes, v)
			k.VolumeMounts = append(k.VolumeMounts, corev1.VolumeMount{Name: k.Name, MountPath: "/v"})
		}
		p.Spec.Containers = append(p.Spec.Containers, k)
	}
	return p
}

// hear runs cases in pods of at most so many, and hears each as a subtest of
// its own.
func (u user) hear(name, more string, each int, cases []said) {
	u.t.Helper()
	pods := api.CoreV1().Pods(u.namespace)
	var names []string
	for i := 0; i < len(cases); i += each {
		p := podOf(u.t, fmt.Sprintf("%s-%d", name, i/each), more, cases[i:min(i+each, len(cases))])
		if _, err := pods.Create(u.t.Context(), p, metav1.CreateOptions{}); err != nil {
			u.t.Fatal(err)
		}
		names = append(names, p.Name)
	}
	for i, c := range cases {
		pod := names[i/each]
		if i%each == 0 {
			u.over(pod)
		}
		u.t.Run(c.id, func(t *testing.T) {
			raw, err := pods.GetLogs(pod, &corev1.PodLogOptions{Container: containerName(c.id)}).DoRaw(t.Context())
			if got := strings.Join(strings.Fields(string(raw)), " "); err != nil || got != c.want {
				t.Errorf("it says %q, expected %q; %v", got, c.want, err)
			}
		})
	}
}

// over waits until a pod has ended, well or not.
func (u user) over(pod string) *corev1.Pod {
	u.t.Helper()
	var p *corev1.Pod
	u.until("pod "+pod+" is over", func() (err error) {
		p, err = api.CoreV1().Pods(u.namespace).Get(u.t.Context(), pod, metav1.GetOptions{})
		if err == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			var late []string
			for _, s := range p.Status.ContainerStatuses {
				if w := s.State.Waiting; w != nil && w.Message != "" {
					late = append(late, s.Name+": "+w.Message)
				}
			}
			err = fmt.Errorf("it is %s; %s", p.Status.Phase, strings.Join(late, "; "))
		}
		return err
	})
	return p
}
