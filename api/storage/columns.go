package storage

import (
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func storageClassColumns() []metav1.TableColumnDefinition {
	of := storagev1.StorageClass{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Provisioner", of, "provisioner"),
		table.Field("ReclaimPolicy", of, "reclaimPolicy"),
		table.Field("VolumeBindingMode", of, "volumeBindingMode"),
		table.Field("AllowVolumeExpansion", of, "allowVolumeExpansion"),
		table.Age(),
	}
}

func storageClassRow(c *storagev1.StorageClass, now metav1.Time) []any {
	reclaim, binding := "Delete", "Immediate"
	if c.ReclaimPolicy != nil {
		reclaim = string(*c.ReclaimPolicy)
	}
	if c.VolumeBindingMode != nil {
		binding = string(*c.VolumeBindingMode)
	}
	return []any{c.Name, c.Provisioner, reclaim, binding, isTrue(c.AllowVolumeExpansion), table.Since(c.CreationTimestamp, now)}
}

func isTrue(b *bool) bool { return b != nil && *b }

func csiDriverColumns() []metav1.TableColumnDefinition {
	of := storagev1.CSIDriverSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.TypedField("AttachRequired", "boolean", of, "attachRequired"),
		table.TypedField("PodInfoOnMount", "boolean", of, "podInfoOnMount"),
		table.TypedField("StorageCapacity", "boolean", of, "storageCapacity"),
		table.Field("TokenRequests", of, "tokenRequests"),
		table.TypedField("RequiresRepublish", "boolean", of, "requiresRepublish"),
		table.Field("Modes", of, "volumeLifecycleModes"),
		table.Age(),
	}
}

func csiDriverRow(d *storagev1.CSIDriver, now metav1.Time) []any {
	s := &d.Spec
	audiences := "<unset>"
	if s.TokenRequests != nil {
		var all []string
		for _, r := range s.TokenRequests {
			all = append(all, r.Audience)
		}
		audiences = strings.Join(all, ",")
	}
	modes := "<none>"
	if len(s.VolumeLifecycleModes) > 0 {
		var all []string
		for _, m := range s.VolumeLifecycleModes {
			all = append(all, string(m))
		}
		modes = strings.Join(all, ",")
	}
	attach := s.AttachRequired == nil || *s.AttachRequired
	return []any{d.Name, attach, isTrue(s.PodInfoOnMount), isTrue(s.StorageCapacity), audiences,
		isTrue(s.RequiresRepublish), modes, table.Since(d.CreationTimestamp, now)}
}

func csiNodeColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Typed("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node"),
		table.Age(),
	}
}

func csiNodeRow(n *storagev1.CSINode, now metav1.Time) []any {
	return []any{n.Name, int64(len(n.Spec.Drivers)), table.Since(n.CreationTimestamp, now)}
}

func attachmentColumns() []metav1.TableColumnDefinition {
	spec := storagev1.VolumeAttachmentSpec{}
	attacher := table.Field("Attacher", spec, "attacher")
	attacher.Format = "name"
	return []metav1.TableColumnDefinition{
		table.Name(),
		attacher,
		table.Field("PV", storagev1.VolumeAttachmentSource{}, "persistentVolumeName"),
		table.Field("Node", spec, "nodeName"),
		table.TypedField("Attached", "boolean", storagev1.VolumeAttachmentStatus{}, "attached"),
		table.Age(),
	}
}

func attachmentRow(a *storagev1.VolumeAttachment, now metav1.Time) []any {
	pv := ""
	if a.Spec.Source.PersistentVolumeName != nil {
		pv = *a.Spec.Source.PersistentVolumeName
	}
	return []any{a.Name, a.Spec.Attacher, pv, a.Spec.NodeName, a.Status.Attached, table.Since(a.CreationTimestamp, now)}
}

func attributesClassColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("DriverName", "Name of the CSI driver This field is immutable."),
		table.Age(),
	}
}

func attributesClassRow(c *storagev1.VolumeAttributesClass, now metav1.Time) []any {
	return []any{c.Name, c.DriverName, table.Since(c.CreationTimestamp, now)}
}
