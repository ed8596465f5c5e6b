package resource

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

var sliceHooks = scheme.Hooks[resourcev1.ResourceSlice]{
	PrepareCreate: func(c scheme.Context, s *resourcev1.ResourceSlice) {
		dropFromSlice(&s.Spec, nil)
		setTaintTimes(s, c.Now)
	},
	PrepareUpdate: func(c scheme.Context, s, old *resourcev1.ResourceSlice) {
		dropFromSlice(&s.Spec, &old.Spec)
		setTaintTimes(s, c.Now)
	},
	ValidateCreate: func(s *resourcev1.ResourceSlice) field.ErrorList {
		return validateSlice(&s.Spec, field.NewPath("spec"))
	},
	ValidateUpdate: func(s, old *resourcev1.ResourceSlice) field.ErrorList {
		path := field.NewPath("spec")
		errs := validateSlice(&s.Spec, path)
		errs = append(errs, check.Unchanged(path.Child("driver"), s.Spec.Driver, old.Spec.Driver, nil)...)
		errs = append(errs, check.Unchanged(path.Child("pool", "name"), s.Spec.Pool.Name, old.Spec.Pool.Name, nil)...)
		return append(errs, check.Unchanged(path.Child("nodeName"), s.Spec.NodeName, old.Spec.NodeName, nil)...)
	},
	WarnCreate: warnSlice,
	WarnUpdate: func(s, _ *resourcev1.ResourceSlice) []string { return warnSlice(s) },
	SpecChanged: func(s, old *resourcev1.ResourceSlice) bool {
		return !apiequality.Semantic.DeepEqual(&s.Spec, &old.Spec)
	},
}

func warnSlice(s *resourcev1.ResourceSlice) []string {
	return warnDriverName(s.Spec.Driver, func() *field.Path { return field.NewPath("spec", "driver") })
}

// placement says where devices are: a slice and a device choose one way each.
type placement struct {
	chosen []string
	errs   field.ErrorList
}

func (p *placement) nodeName(name *string, path *field.Path) {
	if name == nil {
		return
	}
	if *name == "" {
		p.errs = append(p.errs, field.Invalid(path.Child("nodeName"), *name, "must be either unset or set to a non-empty string"))
		return
	}
	p.chosen = append(p.chosen, "`nodeName`")
	p.errs = append(p.errs, check.Subdomain(path.Child("nodeName"), *name)...)
}

func (p *placement) nodeSelector(s *corev1.NodeSelector, path *field.Path) {
	if s == nil {
		return
	}
	path = path.Child("nodeSelector")
	p.chosen = append(p.chosen, "`nodeSelector`")
	p.errs = append(p.errs, core.ValidateNodeSelector(s, false, path)...)
	if len(s.NodeSelectorTerms) != 1 {
		p.errs = append(p.errs, field.Invalid(path.Child("nodeSelectorTerms"), internalform.Of(s.NodeSelectorTerms), "must have exactly one node selector term"))
	}
}

func (p *placement) flag(set *bool, name string, path *field.Path) {
	if set == nil {
		return
	}
	if !*set {
		p.errs = append(p.errs, field.Invalid(path.Child(name), *set, "must be either unset or set to true"))
		return
	}
	p.chosen = append(p.chosen, "`"+name+"`")
}

// one appends an error unless exactly one way is chosen.
func (p *placement) one(none, several string, path *field.Path) field.ErrorList {
	switch len(p.chosen) {
	case 0:
		p.errs = append(p.errs, field.Required(path, none))
	case 1:
	default:
		p.errs = append(p.errs, field.Invalid(path, "{"+strings.Join(p.chosen, ", ")+"}", several))
	}
	return p.errs
}

func validateSlice(s *resourcev1.ResourceSliceSpec, path *field.Path) field.ErrorList {
	errs := check.CSIDriverName(path.Child("driver"), s.Driver)
	errs = append(errs, validatePool(&s.Pool, path.Child("pool"))...)
	var p placement
	p.nodeName(s.NodeName, path)
	p.nodeSelector(s.NodeSelector, path)
	p.flag(s.AllNodes, "allNodes", path)
	p.flag(s.PerDeviceNodeSelection, "perDeviceNodeSelection", path)
	const one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	errs = append(errs, p.one(one, one+", but multiple fields are set", path)...)
	if s.SharedCounters != nil && s.Devices != nil {
		errs = append(errs, field.Invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	perDevice := s.PerDeviceNodeSelection != nil && *s.PerDeviceNodeSelection
	errs = append(errs, validateSet(s.Devices, maxDevices(s), func(d *resourcev1.Device, path *field.Path) field.ErrorList {
		return validateDevice(d, perDevice, path)
	}, func(d *resourcev1.Device) string { return d.Name }, asIs[string], path.Child("devices"))...)
	return append(errs, validateSet(s.SharedCounters, resourcev1.ResourceSliceMaxCounterSets, func(c *resourcev1.CounterSet, path *field.Path) field.ErrorList {
		errs := requiredLabel(path.Child("name"), c.Name)
		return append(errs, validateCounters(c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet, path.Child("counters"))...)
	}, func(c *resourcev1.CounterSet) string { return c.Name }, asIs[string], path.Child("sharedCounters"))...)
}

// maxDevices is less for slices whose devices take more room.
func maxDevices(s *resourcev1.ResourceSliceSpec) int {
	for i := range s.Devices {
		d := &s.Devices[i]
		if len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 {
			return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
		for _, a := range d.Attributes {
			if isList(&a) {
				return resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
			}
		}
	}
	return resourcev1.ResourceSliceMaxDevices
}

func validatePool(p *resourcev1.ResourcePool, path *field.Path) field.ErrorList {
	errs := validatePoolName(p.Name, path.Child("name"))
	if p.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(path.Child("resourceSliceCount"), p.ResourceSliceCount, "must be greater than zero"))
	}
	if p.Generation < 0 {
		errs = append(errs, field.Invalid(path.Child("generation"), p.Generation, "must be greater than or equal to zero"))
	}
	return errs
}

func validateCounters(counters map[string]resourcev1.Counter, max int, path *field.Path) field.ErrorList {
	if len(counters) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	return validateMap(counters, max, func(name string, path *field.Path) field.ErrorList { return check.Label(path, name) },
		func(*resourcev1.Counter, *field.Path) field.ErrorList { return nil }, path)
}
