// Package internalform prints API values in validation messages the way
// Kubernetes does. Kubernetes validates types without JSON names, so a struct
// in a message shows Go field names and every unset field:
// {"Name":"a","ResourceClaimName":null}.
package internalform

import (
	"bytes"
	"encoding/json"
	"reflect"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Of wraps a value for field.Invalid and field.Duplicate. It costs nothing
// until the message is printed.
func Of(v any) json.Marshaler { return form{v} }

type form struct{ value any }

func (f form) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := write(&b, reflect.ValueOf(f.value)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var marshaler = reflect.TypeFor[json.Marshaler]()

// sharedPackage has types that Kubernetes uses with their JSON names in its
// own types too: label selectors, conditions, object metadata.
const sharedPackage = "k8s.io/apimachinery/pkg/apis/meta/v1"

func write(b *bytes.Buffer, v reflect.Value) error {
	if !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.IsNil() {
		b.WriteString("null")
		return nil
	}
	if v.Type().Implements(marshaler) {
		return plain(b, v)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return write(b, v.Elem())
	case reflect.Struct:
		if v.Type().PkgPath() == sharedPackage {
			return plain(b, v)
		}
		if s, ok := v.Interface().(corev1.PodSpec); ok {
			return write(b, reflect.ValueOf(formOfSpec(&s)))
		}
		if reflect.PointerTo(v.Type()).Implements(marshaler) {
			p := reflect.New(v.Type())
			p.Elem().Set(v)
			return plain(b, p)
		}
		b.WriteByte('{')
		first := true
		if err := fields(b, v, &first); err != nil {
			return err
		}
		b.WriteByte('}')
		return nil
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return plain(b, v)
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := write(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.Map:
		return writeMap(b, v)
	}
	return plain(b, v)
}

// otherOrder has the types whose fields come in another order than the API
// type declares them.
var otherOrder = map[string]string{
	"v1.JSONSchemaProps": `ID Schema Ref Description Type Nullable Format Title Default Maximum ExclusiveMaximum Minimum ExclusiveMinimum
		MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Enum MaxProperties MinProperties Required Items AllOf OneOf
		AnyOf Not Properties AdditionalProperties PatternProperties Dependencies AdditionalItems Definitions ExternalDocs Example
		XPreserveUnknownFields XEmbeddedResource XIntOrString XListMapKeys XListType XMapType XValidations`,
	"v1.VolumeSource": `HostPath EmptyDir GCEPersistentDisk AWSElasticBlockStore GitRepo Secret NFS ISCSI Glusterfs
		PersistentVolumeClaim RBD Quobyte FlexVolume Cinder CephFS Flocker DownwardAPI FC AzureFile ConfigMap
		VsphereVolume AzureDisk PhotonPersistentDisk Projected PortworxVolume ScaleIO StorageOS CSI Ephemeral Image`,
	"v1.PersistentVolumeSource": `GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder
		CephFS FC Flocker AzureFile VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS CSI`,
}

// gated has fields behind gates that are off: for users they are not there.
var gated = map[string]bool{
	"v1.ClusterTrustBundleProjection.User": true, "v1.ConfigMapVolumeSource.DefaultUser": true,
	"v1.DownwardAPIVolumeFile.User": true, "v1.DownwardAPIVolumeSource.DefaultUser": true,
	"v1.EmptyDirVolumeSource.Mode": true, "v1.GRPCAction.Mode": true, "v1.HTTPGetAction.Protocol": true,
	"v1.KeyToPath.User": true, "v1.PodCertificateProjection.User": true, "v1.PodSpec.EvictionResponders": true,
	"v1.ProjectedVolumeSource.DefaultUser": true, "v1.SecretVolumeSource.DefaultUser": true,
	"v1.ServiceAccountTokenProjection.User": true, "v1.VolumeMount.BindMountOptions": true,
	"v1.ExactDeviceRequest.DerivedAttributes": true, "v1.DeviceSubRequest.DerivedAttributes": true,
	"v1.DeviceRequestAllocationResult.SkipNodeOperations": true,
}

// order gives the fields' indexes.
func order(t reflect.Type) []int {
	indexes := make([]int, 0, t.NumField())
	if names, ok := otherOrder[t.String()]; ok {
		for name := range strings.FieldsSeq(names) {
			if f, ok := t.FieldByName(name); ok {
				indexes = append(indexes, f.Index[0])
			}
		}
		return indexes
	}
	for i := range t.NumField() {
		indexes = append(indexes, i)
	}
	return indexes
}

// fields writes a struct's fields; those of embedded structs are the outer
// one's own, as in encoding/json.
func fields(b *bytes.Buffer, v reflect.Value, first *bool) error {
	for _, i := range order(v.Type()) {
		f := v.Type().Field(i)
		if f.Anonymous && f.Type.PkgPath() == sharedPackage {
			if err := embedded(b, v.Field(i), first); err != nil {
				return err
			}
			continue
		}
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			if err := fields(b, v.Field(i), first); err != nil {
				return err
			}
			continue
		}
		if !f.IsExported() || gated[v.Type().String()+"."+f.Name] && v.Field(i).IsZero() {
			continue
		}
		if !*first {
			b.WriteByte(',')
		}
		*first = false
		name, _ := json.Marshal(f.Name)
		b.Write(name)
		b.WriteByte(':')
		if err := write(b, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

// embedded writes the members of a struct that is printed by its JSON names.
func embedded(b *bytes.Buffer, v reflect.Value, first *bool) error {
	text, err := json.Marshal(v.Interface())
	if err != nil || len(text) <= 2 {
		return err
	}
	if !*first {
		b.WriteByte(',')
	}
	*first = false
	b.Write(text[1 : len(text)-1])
	return nil
}

func writeMap(b *bytes.Buffer, v reflect.Value) error {
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(k.Interface())
		if err != nil {
			return err
		}
		b.Write(name)
		b.WriteByte(':')
		if err := write(b, v.MapIndex(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func plain(b *bytes.Buffer, v reflect.Value) error {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return err
	}
	b.Write(text)
	return nil
}
