package volume

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/kubelet/internal/downward"
)

// content reports whether the volume's content is made from objects, and so
// has to be kept current.
func content(v *corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

// setup makes one volume present and current.
func (m *Manager) setup(ctx context.Context, s *podVolumes, v *corev1.Volume) error {
	name := v.Name
	var err error
	switch {
	case content(v):
		err = m.setupContent(ctx, s, v)
	case v.EmptyDir != nil:
		err = m.setupEmptyDir(s.pod, v)
	case v.HostPath != nil:
		err = checkHostPath(v.HostPath.Path, v.HostPath.Type)
	case v.Image != nil:
		return nil // pulled when a container that mounts it starts
	case v.CSI != nil:
		err = m.csi.setupInline(ctx, s, v)
	case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
		return m.setupClaim(ctx, s, v) // says itself what failed
	default:
		return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", name, unsupported(v))
	}
	if err != nil {
		return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", name, err)
	}
	return nil
}

// unsupported names the kind of a volume that this kubelet has no plugin for.
func unsupported(v *corev1.Volume) error {
	kind := "of an unknown kind"
	switch {
	case v.NFS != nil:
		kind = "nfs"
	case v.ISCSI != nil:
		kind = "iscsi"
	case v.FC != nil:
		kind = "fc"
	case v.GitRepo != nil:
		kind = "gitRepo"
	case v.RBD != nil:
		kind = "rbd"
	case v.CephFS != nil:
		kind = "cephfs"
	case v.FlexVolume != nil:
		kind = "flexVolume"
	}
	return fmt.Errorf("no volume plugin matched: volumes of kind %s are not supported by this kubelet; use a PersistentVolumeClaim with a CSI driver", kind)
}

func (m *Manager) setupContent(ctx context.Context, s *podVolumes, v *corev1.Volume) error {
	p, err := m.payload(ctx, s.pod, v)
	if err != nil {
		return err
	}
	group := fsGroup(s.pod)
	dir := m.contentDir(s.pod, v)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if v.ConfigMap == nil {
		if err := tmpfs(dir, m.memoryBound(s.pod, nil)); err != nil {
			return err
		}
	}
	changed, err := p.write(dir, group)
	if err != nil {
		return err
	}
	if changed {
		return settle(dir, 0o777, group)
	}
	return nil
}

func (m *Manager) contentDir(pod *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.ConfigMap != nil:
		return m.dir(pod.UID, pluginConfigMap, v.Name)
	case v.Secret != nil:
		return m.dir(pod.UID, pluginSecret, v.Name)
	case v.DownwardAPI != nil:
		return m.dir(pod.UID, pluginDownward, v.Name)
	}
	return m.dir(pod.UID, pluginProjected, v.Name)
}

// payload is what a volume should hold now.
func (m *Manager) payload(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (Payload, error) {
	p := Payload{}
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return p, m.configMap(ctx, p, pod, s.Name, s.Items, modeOr(s.DefaultMode, defaultMode), isTrue(s.Optional))
	case v.Secret != nil:
		s := v.Secret
		return p, m.secret(ctx, p, pod, s.SecretName, s.Items, modeOr(s.DefaultMode, defaultMode), isTrue(s.Optional))
	case v.DownwardAPI != nil:
		s := v.DownwardAPI
		return p, p.addDownward(m.downward(pod), s.Items, modeOr(s.DefaultMode, defaultMode))
	}
	mode := modeOr(v.Projected.DefaultMode, defaultMode)
	var errs []error
	for i := range v.Projected.Sources {
		at := certKey{pod: pod.UID, volume: v.Name, source: i}
		if err := m.projection(ctx, p, pod, &v.Projected.Sources[i], at, mode); err != nil {
			errs = append(errs, err)
		}
	}
	return p, utilerrors.NewAggregate(errs)
}

func (m *Manager) projection(ctx context.Context, p Payload, pod *corev1.Pod, s *corev1.VolumeProjection, at certKey, mode int32) error {
	switch {
	case s.ConfigMap != nil:
		return m.configMap(ctx, p, pod, s.ConfigMap.Name, s.ConfigMap.Items, mode, isTrue(s.ConfigMap.Optional))
	case s.Secret != nil:
		return m.secret(ctx, p, pod, s.Secret.Name, s.Secret.Items, mode, isTrue(s.Secret.Optional))
	case s.DownwardAPI != nil:
		return p.addDownward(m.downward(pod), s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		return m.token(ctx, p, pod, s.ServiceAccountToken, mode)
	case s.ClusterTrustBundle != nil:
		return m.trustBundle(ctx, p, s.ClusterTrustBundle, mode)
	case s.PodCertificate != nil:
		return m.podCertificate(ctx, p, pod, at, s.PodCertificate, mode)
	}
	return nil
}

func (m *Manager) downward(pod *corev1.Pod) downward.Pod {
	d := downward.Pod{Pod: pod}
	if n := m.o.NodeObject(); n != nil {
		d.Allocatable = n.Status.Allocatable
	}
	return d
}

func (m *Manager) configMap(ctx context.Context, p Payload, pod *corev1.Pod, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	c, err := m.o.Objects.ConfigMap(ctx, pod.Namespace, name)
	if err != nil && !(optional && apierrors.IsNotFound(err)) {
		return err
	}
	return p.addConfigMap(c, items, mode, optional)
}

func (m *Manager) secret(ctx context.Context, p Payload, pod *corev1.Pod, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	s, err := m.o.Objects.Secret(ctx, pod.Namespace, name)
	if err != nil && !(optional && apierrors.IsNotFound(err)) {
		return err
	}
	return p.addSecret(s, items, mode, optional)
}

func (m *Manager) token(ctx context.Context, p Payload, pod *corev1.Pod, s *corev1.ServiceAccountTokenProjection, mode int32) error {
	text, err := m.tokens.get(ctx, tokenKey{
		pod: pod.UID, podName: pod.Name, namespace: pod.Namespace, account: pod.Spec.ServiceAccountName,
		audience: s.Audience, seconds: seconds(s.ExpirationSeconds),
	})
	if err != nil {
		return fmt.Errorf("failed to fetch token: %w", err)
	}
	f := File{Data: []byte(text), Mode: mode, Owner: fsUser(pod)}
	if f.Owner != nil || fsGroup(pod) != nil {
		f.Mode = 0o600 // the group, if there is one, may read too
	}
	return p.add(s.Path, f)
}

// defaultSeconds is how long tokens are valid.
const defaultSeconds = 60 * 60

func seconds(s *int64) int64 {
	if s == nil {
		return defaultSeconds
	}
	return *s
}
