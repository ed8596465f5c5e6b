package resource

import (
	"encoding/json"
	"errors"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/api/resource/v1beta1"
	"k8s.io/api/resource/v1beta2"

	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

// The older versions. v1beta2 differs from v1 in name only; v1beta1 has
// requests and devices of another shape. Their members are called the same
// within, so those are converted by way of JSON, and the rest by protobuf,
// where the two are the same bytes.

func classVersions() []scheme.Version {
	return []scheme.Version{
		version.Own(group, "v1", &resourcev1.DeviceClass{}),
		version.Off(version.WireEqual[v1beta2.DeviceClass, v1beta2.DeviceClassList, resourcev1.DeviceClass](group, "v1beta2")),
		version.Off(version.WireEqual[v1beta1.DeviceClass, v1beta1.DeviceClassList, resourcev1.DeviceClass](group, "v1beta1")),
	}
}

func claimVersions() []scheme.Version {
	return []scheme.Version{
		version.Own(group, "v1", &resourcev1.ResourceClaim{}),
		version.Off(version.WireEqual[v1beta2.ResourceClaim, v1beta2.ResourceClaimList, resourcev1.ResourceClaim](group, "v1beta2")),
		version.Off(version.Reshaped[v1beta1.ResourceClaim, v1beta1.ResourceClaimList](group, "v1beta1",
			func(in *v1beta1.ResourceClaim, out *resourcev1.ResourceClaim) error {
				rest := *in
				rest.Spec.Devices.Requests = nil
				return errors.Join(version.Recode(&rest, out), requestsFromBeta(&in.Spec, &out.Spec))
			},
			func(in *resourcev1.ResourceClaim, out *v1beta1.ResourceClaim) error {
				rest := *in
				rest.Spec.Devices.Requests = nil
				return errors.Join(version.Recode(&rest, out), requestsToBeta(&in.Spec, &out.Spec))
			})),
	}
}

func templateVersions() []scheme.Version {
	return []scheme.Version{
		version.Own(group, "v1", &resourcev1.ResourceClaimTemplate{}),
		version.Off(version.WireEqual[v1beta2.ResourceClaimTemplate, v1beta2.ResourceClaimTemplateList, resourcev1.ResourceClaimTemplate](group, "v1beta2")),
		version.Off(version.Reshaped[v1beta1.ResourceClaimTemplate, v1beta1.ResourceClaimTemplateList](group, "v1beta1",
			func(in *v1beta1.ResourceClaimTemplate, out *resourcev1.ResourceClaimTemplate) error {
				rest := *in
				rest.Spec.Spec.Devices.Requests = nil
				return errors.Join(version.Recode(&rest, out), requestsFromBeta(&in.Spec.Spec, &out.Spec.Spec))
			},
			func(in *resourcev1.ResourceClaimTemplate, out *v1beta1.ResourceClaimTemplate) error {
				rest := *in
				rest.Spec.Spec.Devices.Requests = nil
				return errors.Join(version.Recode(&rest, out), requestsToBeta(&in.Spec.Spec, &out.Spec.Spec))
			})),
	}
}

func sliceVersions() []scheme.Version {
	return []scheme.Version{
		version.Own(group, "v1", &resourcev1.ResourceSlice{}),
		version.Off(version.WireEqual[v1beta2.ResourceSlice, v1beta2.ResourceSliceList, resourcev1.ResourceSlice](group, "v1beta2")),
		version.Off(version.Reshaped[v1beta1.ResourceSlice, v1beta1.ResourceSliceList](group, "v1beta1", sliceFromBeta, sliceToBeta)),
	}
}

func requestsFromBeta(in *v1beta1.ResourceClaimSpec, out *resourcev1.ResourceClaimSpec) error {
	from := in.Devices.Requests
	if from == nil {
		return nil
	}
	to := make([]resourcev1.DeviceRequest, len(from))
	out.Devices.Requests = to
	for i := range from {
		if err := requestFromBeta(&from[i], &to[i]); err != nil {
			return fmt.Errorf("convert request %s: %w", from[i].Name, err)
		}
	}
	return nil
}

func requestFromBeta(in *v1beta1.DeviceRequest, out *resourcev1.DeviceRequest) error {
	out.Name = in.Name
	exact := in.DeviceClassName != "" || len(in.Selectors) > 0 || in.AllocationMode != "" || in.Count != 0 || in.AdminAccess != nil ||
		len(in.Tolerations) > 0 || in.Capacity != nil || len(in.DerivedAttributes) > 0
	if exact {
		out.Exactly = new(resourcev1.ExactDeviceRequest)
		if err := rewrite(in, out.Exactly); err != nil {
			return err
		}
	}
	if in.FirstAvailable == nil {
		return nil
	}
	return rewrite(in.FirstAvailable, &out.FirstAvailable)
}

func requestsToBeta(in *resourcev1.ResourceClaimSpec, out *v1beta1.ResourceClaimSpec) error {
	from := in.Devices.Requests
	if from == nil {
		return nil
	}
	to := make([]v1beta1.DeviceRequest, len(from))
	out.Devices.Requests = to
	for i := range from {
		if err := requestToBeta(&from[i], &to[i]); err != nil {
			return fmt.Errorf("convert request %s: %w", from[i].Name, err)
		}
	}
	return nil
}

func requestToBeta(in *resourcev1.DeviceRequest, out *v1beta1.DeviceRequest) error {
	if in.Exactly != nil {
		if err := rewrite(in.Exactly, out); err != nil {
			return err
		}
	}
	out.Name = in.Name
	if in.FirstAvailable == nil {
		return nil
	}
	return rewrite(in.FirstAvailable, &out.FirstAvailable)
}

func sliceFromBeta(in *v1beta1.ResourceSlice, out *resourcev1.ResourceSlice) error {
	rest := *in
	rest.Spec.Devices = nil
	if err := version.Recode(&rest, out); err != nil {
		return err
	}
	// v1beta1 can't tell an empty value from none.
	if in.Spec.NodeName == "" {
		out.Spec.NodeName = nil
	}
	if !in.Spec.AllNodes {
		out.Spec.AllNodes = nil
	}
	if in.Spec.Devices == nil {
		return nil
	}
	out.Spec.Devices = make([]resourcev1.Device, len(in.Spec.Devices))
	for i := range in.Spec.Devices {
		from, to := &in.Spec.Devices[i], &out.Spec.Devices[i]
		if from.Basic != nil {
			if err := rewrite(from.Basic, to); err != nil {
				return fmt.Errorf("convert device %s: %w", from.Name, err)
			}
		}
		to.Name = from.Name
	}
	return nil
}

func sliceToBeta(in *resourcev1.ResourceSlice, out *v1beta1.ResourceSlice) error {
	rest := *in
	rest.Spec.Devices = nil
	if err := version.Recode(&rest, out); err != nil {
		return err
	}
	if in.Spec.Devices == nil {
		return nil
	}
	out.Spec.Devices = make([]v1beta1.Device, len(in.Spec.Devices))
	for i := range in.Spec.Devices {
		from, to := &in.Spec.Devices[i], &out.Spec.Devices[i]
		to.Name, to.Basic = from.Name, new(v1beta1.BasicDevice)
		if err := rewrite(from, to.Basic); err != nil {
			return fmt.Errorf("convert device %s: %w", from.Name, err)
		}
	}
	return nil
}

// rewrite fills a value from another whose members have the same JSON names.
func rewrite(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}
