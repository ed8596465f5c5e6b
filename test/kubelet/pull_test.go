package kubelet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Images of a registry that asks for a password are refused without it and
// pulled with the pod's secret, as soon as that is there.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
	const port = 5055
	registry, err := node.Registry(port, "somebody", "secret-word")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // the node goes too
	image := registry.Address + "/private/app:1"

	p := always(pod("pull", "wait"))
	p.Spec.Containers[0].Image = image
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	create(t, p)
	told(t, "pull", `Pulling image "`+image+`"`)
	told(t, "pull", "Unable to retrieve some image pull secrets (pull); attempting to pull the image may not succeed.")
	told(t, "pull", `Failed to pull image "`+image+`": `)
	told(t, "pull", "Error: ErrImagePull")
	told(t, "pull", `Back-off pulling image "`+image+`"`)
	told(t, "pull", "Error: ImagePullBackOff")
	wait(t, "pull", "waiting with ImagePullBackOff", func(p *corev1.Pod) bool {
		w := status(p, "main").State.Waiting
		return w != nil && w.Reason == "ImagePullBackOff" && strings.HasPrefix(w.Message, `Back-off pulling image "`+image+`": ErrImagePull: `)
	})
	if registry.Refused.Load() == 0 || registry.Pulled.Load() != 0 {
		t.Errorf("the registry refused %d requests and gave %d manifests", registry.Refused.Load(), registry.Pulled.Load())
	}

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths": {%q: {"username": "somebody", "password": "secret-word"}}}`, registry.Address),
	}}
	if _, err := node.Client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = wait(t, "pull", "ready", ready)
	told(t, "pull", `Successfully pulled image "`+image+`" in `)
	if s := status(p, "main"); s.Image != image || !strings.HasPrefix(s.ImageID, registry.Address+"/private/app@sha256:") {
		t.Errorf("image %q, id %q", s.Image, s.ImageID)
	}
	if registry.Pulled.Load() == 0 {
		t.Error("nothing was pulled")
	}
	// The image is on the node now; who does not know the word does not get it.
	thief := always(pod("pull-without", "wait"))
	thief.Spec.Containers[0].Image, thief.Spec.Containers[0].ImagePullPolicy = image, corev1.PullIfNotPresent
	create(t, thief)
	told(t, "pull-without", `Failed to pull image "`+image+`": `)
	second := always(pod("pull-with", "wait"))
	second.Spec.Containers[0].Image, second.Spec.Containers[0].ImagePullPolicy = image, corev1.PullIfNotPresent
	second.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	create(t, second)
	wait(t, "pull-with", "ready", ready)
	told(t, "pull-with", `Container image "`+image+`" already present on machine and can be accessed by the pod`)
}

// programPort is that of the registry whose password only a program knows.
const programPort = 5058

// credentialProgram makes a directory with a program that knows that password,
// and the configuration that names it.
func credentialProgram() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "credentials"); err != nil {
		return "", err
	}
	answer := fmt.Sprintf(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","auth":{"127.0.0.1:%d":{"username":"machine","password":"secret-word"}}}`, programPort)
	config := fmt.Sprintf(`{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [{name: knows, matchImages: ['127.0.0.1:%d'],
  defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1, args: [%s]}]}`, programPort, dir)
	return dir, errors.Join(os.WriteFile(filepath.Join(dir, "knows"), []byte("#!/bin/sh\ncat >> $1/asked\necho '"+answer+"'\n"), 0o700),
		os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600))
}

// A program of the node's owner gives the credentials of a registry.
func TestPullByProgram(t *testing.T) {
	t.Parallel()
	registry, err := node.Registry(programPort, "machine", "secret-word")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // the node goes too
	for _, name := range []string{"program-first", "program-second"} {
		p := pod(name, "echo", "pulled")
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = registry.Address+"/private/"+name, corev1.PullAlways
		if got := output(t, p); got != "pulled\n" {
			t.Errorf("it wrote %q", got)
		}
	}
}

// A registry that asks for nothing, and the policy Always.
func TestPullOpen(t *testing.T) {
	t.Parallel()
	const port = 5056
	registry, err := node.Registry(port, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // the node goes too
	for _, name := range []string{"open-first", "open-second"} {
		p := pod(name, "echo", "pulled")
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = registry.Address+"/open/app", corev1.PullAlways
		if got := output(t, p); got != "pulled\n" {
			t.Errorf("it wrote %q", got)
		}
		told(t, name, "Successfully pulled image")
	}
}

// The content of an image as a volume: pulled, mounted for reading only, all of
// it or a part.
func TestImageVolume(t *testing.T) {
	t.Parallel()
	const port = 5057
	registry, err := node.Registry(port, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // the node goes too
	with := func(name, reference string, mount corev1.VolumeMount, args ...string) *corev1.Pod {
		p := pod(name, args...)
		p.Spec.Volumes = []corev1.Volume{{Name: "image", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: reference, PullPolicy: corev1.PullAlways}}}}
		mount.Name = "image"
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mount}
		return p
	}
	reference := registry.Address + "/content/app:1"
	t.Run("NO-2b41 an image as a volume", func(t *testing.T) {
		if got := output(t, with("image-volume", reference, corev1.VolumeMount{MountPath: "/image"}, "cat", "/image/registry")); got != registry.Address {
			t.Errorf("it read %q", got)
		}
		told(t, "image-volume", `Successfully pulled image "`+reference+`"`)
		if registry.Pulled.Load() == 0 {
			t.Error("nothing was pulled")
		}
	})
	t.Run("it is not written to", func(t *testing.T) {
		create(t, with("image-volume-write", reference, corev1.VolumeMount{MountPath: "/image"}, "write", "/image/registry", "mine"))
		wait(t, "image-volume-write", "failed", phase(corev1.PodFailed))
		if got := logs(t, "image-volume-write", "main"); !strings.Contains(got, "read-only file system") {
			t.Errorf("it wrote %q", got)
		}
	})
	t.Run("a directory of it", func(t *testing.T) {
		p := with("image-volume-part", reference, corev1.VolumeMount{MountPath: "/image", SubPathExpr: "$(PART)"}, "exists", "/image/agent")
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PART", Value: "bin"}}
		output(t, p)
	})
	t.Run("one that is not there", func(t *testing.T) {
		missing := registry.Address + "/missing/app:1"
		create(t, with("image-volume-missing", missing, corev1.VolumeMount{MountPath: "/image"}, "wait"))
		told(t, "image-volume-missing", `Failed to pull image "`+missing+`": `)
		p := wait(t, "image-volume-missing", "waiting with ImagePullBackOff", func(p *corev1.Pod) bool {
			w := status(p, "main").State.Waiting
			return w != nil && w.Reason == "ImagePullBackOff" && strings.HasPrefix(w.Message, `Back-off pulling image "`+missing+`": ErrImagePull: `)
		})
		if strings.Contains(events(t, p.Name), "FailedMount") {
			t.Error("it is told as a mount that failed")
		}
	})
}
