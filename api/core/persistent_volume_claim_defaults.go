package core

import corev1 "k8s.io/api/core/v1"

// DefaultPersistentVolumeClaim fills a claim.
func DefaultPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	if c.Status.Phase == "" {
		c.Status.Phase = corev1.ClaimPending
	}
	DefaultPersistentVolumeClaimSpec(&c.Spec)
	RoundResources(c.Status.Capacity)
	RoundResources(c.Status.AllocatedResources)
}

const snapshotGroup = "snapshot.storage.k8s.io"

// prepareDataSources brings the two ways to name a claim's data source into
// one state. old is nil on create.
func prepareDataSources(s, old *corev1.PersistentVolumeClaimSpec) {
	// Sources in other namespaces are not on by default.
	if s.DataSourceRef != nil && s.DataSourceRef.Namespace != nil && *s.DataSourceRef.Namespace != "" && (old == nil || old.DataSourceRef == nil) {
		s.DataSourceRef = nil
	}
	// The older field has always dropped what it does not know.
	if (old == nil || old.DataSource == nil && old.DataSourceRef == nil) && s.DataSource != nil && s.DataSourceRef == nil && !plainDataSource(s.DataSource) {
		s.DataSource = nil
	}
	switch {
	case s.DataSourceRef == nil && s.DataSource != nil:
		d := s.DataSource
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: d.APIGroup, Kind: d.Kind, Name: d.Name}
	case s.DataSourceRef != nil && s.DataSource == nil && (s.DataSourceRef.Namespace == nil || *s.DataSourceRef.Namespace == ""):
		d := s.DataSourceRef
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: d.APIGroup, Kind: d.Kind, Name: d.Name}
	}
}

// plainDataSource takes claims and snapshots.
func plainDataSource(d *corev1.TypedLocalObjectReference) bool {
	group := ""
	if d.APIGroup != nil {
		group = *d.APIGroup
	}
	return group == "" && d.Kind == "PersistentVolumeClaim" || group == snapshotGroup && d.Kind == "VolumeSnapshot"
}
