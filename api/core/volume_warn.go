package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (w *podWarnings) volumes(path *field.Path) {
	for i := range w.spec.Volumes {
		v := &w.spec.Volumes[i]
		if name, m := retiredSource(&v.VolumeSource); name != "" {
			w.add(path.Index(i).Child(name), "%s", m)
		}
		if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
			p := path.Index(i).Child("ephemeral", "volumeClaimTemplate", "spec")
			w.list = append(w.list, WarnPersistentVolumeClaimSpec(p, &v.Ephemeral.VolumeClaimTemplate.Spec)...)
		}
		w.overlaps(v)
	}
}

// retiredSource finds sources whose code has left Kubernetes.
func retiredSource(s *corev1.VolumeSource) (name, message string) {
	switch {
	case s.PhotonPersistentDisk != nil:
		return "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"
	case s.GitRepo != nil:
		return "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"
	case s.ScaleIO != nil:
		return "scaleIO", "deprecated in v1.16, non-functional in v1.22+"
	case s.Flocker != nil:
		return "flocker", "deprecated in v1.22, non-functional in v1.25+"
	case s.StorageOS != nil:
		return "storageOS", "deprecated in v1.22, non-functional in v1.25+"
	case s.Quobyte != nil:
		return "quobyte", "deprecated in v1.22, non-functional in v1.25+"
	case s.Glusterfs != nil:
		return "glusterfs", "deprecated in v1.25, non-functional in v1.26+"
	case s.CephFS != nil:
		return "cephfs", "deprecated in v1.28, non-functional in v1.31+"
	case s.RBD != nil:
		return "rbd", "deprecated in v1.28, non-functional in v1.31+"
	}
	return "", ""
}

// placedFile is a file that a volume puts at a path, and the source it is from.
type placedFile struct{ path, from, name string }

// overlaps speaks of files that take each other's place: the kubelet writes
// them all, and the last one wins.
func (w *podWarnings) overlaps(v *corev1.Volume) {
	var files []placedFile
	place := func(path, from, name string) {
		if path != "" {
			files = append(files, placedFile{strings.TrimRight(path, "/"), from, name})
		}
	}
	switch {
	case v.Secret != nil:
		placeKeys(v.Secret.Items, "", "", place)
	case v.ConfigMap != nil:
		placeKeys(v.ConfigMap.Items, "", "", place)
	case v.DownwardAPI != nil:
		for i := range v.DownwardAPI.Items {
			place(v.DownwardAPI.Items[i].Path, "", "")
		}
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			placeProjection(&v.Projected.Sources[i], place)
		}
	}
	for i := range files {
		for j := range i {
			if a, b := &files[i], &files[j]; overlapping(a.path, b.path) {
				w.list = append(w.list, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", v.Name, sourceName(v), a, b))
			}
		}
	}
}

func sourceName(v *corev1.Volume) string {
	switch {
	case v.Secret != nil:
		return fmt.Sprintf("Secret %q", v.Secret.SecretName)
	case v.ConfigMap != nil:
		return fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name)
	case v.DownwardAPI != nil:
		return "DownwardAPI"
	}
	return "Projected"
}

func (f *placedFile) String() string {
	switch {
	case f.from == "":
		return fmt.Sprintf("%q", f.path)
	case f.name != "":
		return fmt.Sprintf("%q (%s %q)", f.path, f.from, f.name)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.from)
}

func overlapping(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

func placeKeys(items []corev1.KeyToPath, from, name string, place func(path, from, name string)) {
	for i := range items {
		place(items[i].Path, from, name)
	}
}

func placeProjection(s *corev1.VolumeProjection, place func(path, from, name string)) {
	switch {
	case s.Secret != nil:
		placeKeys(s.Secret.Items, "Secret", s.Secret.Name, place)
	case s.ConfigMap != nil:
		placeKeys(s.ConfigMap.Items, "ConfigMap", s.ConfigMap.Name, place)
	case s.DownwardAPI != nil:
		for i := range s.DownwardAPI.Items {
			place(s.DownwardAPI.Items[i].Path, "DownwardAPI", "")
		}
	case s.ServiceAccountToken != nil:
		place(s.ServiceAccountToken.Path, "ServiceAccountToken", "")
	case s.ClusterTrustBundle != nil:
		name := ""
		if s.ClusterTrustBundle.Name != nil {
			name = *s.ClusterTrustBundle.Name
		}
		place(s.ClusterTrustBundle.Path, "ClusterTrustBundle", name)
	case s.PodCertificate != nil:
		for _, f := range [...]string{s.PodCertificate.CredentialBundlePath, s.PodCertificate.KeyPath, s.PodCertificate.CertificateChainPath} {
			place(f, "PodCertificate", "")
		}
	}
}
