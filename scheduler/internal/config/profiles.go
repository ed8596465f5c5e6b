package config

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/defaultbinder"
	"xebec.dev/scheduler/internal/plugins/defaultpreemption"
	"xebec.dev/scheduler/internal/plugins/dynamicresources"
	"xebec.dev/scheduler/internal/plugins/imagelocality"
	"xebec.dev/scheduler/internal/plugins/interpodaffinity"
	"xebec.dev/scheduler/internal/plugins/nodeaffinity"
	"xebec.dev/scheduler/internal/plugins/nodename"
	"xebec.dev/scheduler/internal/plugins/nodeports"
	"xebec.dev/scheduler/internal/plugins/noderesources"
	"xebec.dev/scheduler/internal/plugins/nodeunschedulable"
	"xebec.dev/scheduler/internal/plugins/nodevolumelimits"
	"xebec.dev/scheduler/internal/plugins/podtopologyspread"
	"xebec.dev/scheduler/internal/plugins/queuesort"
	"xebec.dev/scheduler/internal/plugins/schedulinggates"
	"xebec.dev/scheduler/internal/plugins/tainttoleration"
	"xebec.dev/scheduler/internal/plugins/volumebinding"
	"xebec.dev/scheduler/internal/plugins/volumerestrictions"
	"xebec.dev/scheduler/internal/plugins/volumezone"
	"xebec.dev/scheduler/internal/volumes"
)

// Deps is what plugins need beside their arguments.
type Deps struct {
	Log *zap.Logger
	// Ignored are extended resources that extenders look after.
	Ignored []string
	// Owners have the selectors that default spreading uses.
	Owners *podtopologyspread.Owners
	// Budgets are the disruption budgets of a namespace.
	Budgets func(namespace string) []defaultpreemption.Budget
	// Volumes of the cluster, and who writes them.
	Volumes      *volumes.Volumes
	VolumeWriter volumebinding.Writer
	// Preempt lets extenders judge preemption; may be nil.
	Preempt func(ctx context.Context, p *corev1.Pod, candidates map[string][]*cache.Pod) (map[string][]*cache.Pod, error)
	// Seed of what is random.
	Seed uint64
	Now  func() time.Time
}

// defaultPlugins in the order that they filter.
var defaultPlugins = []Plugin{
	{Name: schedulinggates.Name}, {Name: queuesort.Name}, {Name: nodeunschedulable.Name}, {Name: nodename.Name},
	{Name: tainttoleration.Name, Weight: ptr[int32](3)}, {Name: nodeaffinity.Name, Weight: ptr[int32](2)}, {Name: nodeports.Name},
	{Name: noderesources.FitName, Weight: ptr[int32](1)},
	{Name: volumerestrictions.Name}, {Name: nodevolumelimits.Name}, {Name: volumebinding.Name}, {Name: volumezone.Name},
	{Name: podtopologyspread.Name, Weight: ptr[int32](2)}, {Name: interpodaffinity.Name, Weight: ptr[int32](2)},
	{Name: dynamicresources.Name}, {Name: defaultpreemption.Name},
	{Name: noderesources.BalancedName, Weight: ptr[int32](1)}, {Name: imagelocality.Name, Weight: ptr[int32](1)}, {Name: defaultbinder.Name},
}

// systemSpread are the constraints of pods without any.
var systemSpread = []corev1.TopologySpreadConstraint{
	{TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 3},
	{TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 5},
}

// factories make plugins of their arguments.
var factories = map[string]func(args any, d Deps) (framework.Plugin, error){
	schedulinggates.Name:   func(any, Deps) (framework.Plugin, error) { return schedulinggates.Plugin{}, nil },
	queuesort.Name:         func(any, Deps) (framework.Plugin, error) { return queuesort.Plugin{}, nil },
	nodeunschedulable.Name: func(any, Deps) (framework.Plugin, error) { return nodeunschedulable.Plugin{}, nil },
	nodename.Name:          func(any, Deps) (framework.Plugin, error) { return nodename.Plugin{}, nil },
	tainttoleration.Name:   func(any, Deps) (framework.Plugin, error) { return tainttoleration.Plugin{}, nil },
	nodeports.Name:         func(any, Deps) (framework.Plugin, error) { return nodeports.Plugin{}, nil },
	imagelocality.Name:     func(any, Deps) (framework.Plugin, error) { return imagelocality.Plugin{}, nil },
	defaultbinder.Name:     func(any, Deps) (framework.Plugin, error) { return defaultbinder.Plugin{}, nil },
	nodeaffinity.Name: func(args any, _ Deps) (framework.Plugin, error) {
		return &nodeaffinity.Plugin{Added: args.(*NodeAffinityArgs).AddedAffinity}, nil
	},
	noderesources.FitName: newFit,
	noderesources.BalancedName: func(args any, _ Deps) (framework.Plugin, error) {
		return &noderesources.Balanced{Resources: weights(args.(*NodeResourcesBalancedAllocationArgs).Resources)}, nil
	},
	podtopologyspread.Name: newSpread,
	dynamicresources.Name:  func(any, Deps) (framework.Plugin, error) { return dynamicresources.Plugin{}, nil },
	defaultpreemption.Name: newPreemption,
	volumebinding.Name: func(args any, d Deps) (framework.Plugin, error) {
		timeout := time.Duration(*args.(*VolumeBindingArgs).BindTimeoutSeconds) * time.Second
		return &volumebinding.Plugin{Volumes: d.Volumes, Writer: d.VolumeWriter, Timeout: timeout}, nil
	},
	volumezone.Name: func(_ any, d Deps) (framework.Plugin, error) { return &volumezone.Plugin{Volumes: d.Volumes}, nil },
	volumerestrictions.Name: func(_ any, d Deps) (framework.Plugin, error) {
		return &volumerestrictions.Plugin{Volumes: d.Volumes}, nil
	},
	nodevolumelimits.Name: func(_ any, d Deps) (framework.Plugin, error) {
		return &nodevolumelimits.Plugin{Volumes: d.Volumes}, nil
	},
	interpodaffinity.Name: func(args any, _ Deps) (framework.Plugin, error) {
		a := args.(*InterPodAffinityArgs)
		return &interpodaffinity.Plugin{HardWeight: int64(*a.HardPodAffinityWeight), IgnorePreferred: a.IgnorePreferredTermsOfExistingPods}, nil
	},
}

func weights(list []ResourceSpec) []noderesources.Weight {
	out := make([]noderesources.Weight, len(list))
	for i, r := range list {
		out[i] = noderesources.Weight{Name: corev1.ResourceName(r.Name), Weight: r.Weight}
	}
	return out
}

func newFit(args any, d Deps) (framework.Plugin, error) {
	a := args.(*NodeResourcesFitArgs)
	f := &noderesources.Fit{
		Ignored: map[string]bool{}, IgnoredGroups: map[string]bool{},
		Strategy: noderesources.Strategy{Type: noderesources.StrategyType(a.ScoringStrategy.Type), Resources: weights(a.ScoringStrategy.Resources)},
	}
	for _, n := range slices.Concat(a.IgnoredResources, d.Ignored) {
		f.Ignored[n] = true
	}
	for _, n := range a.IgnoredResourceGroups {
		f.IgnoredGroups[n] = true
	}
	if r := a.ScoringStrategy.RequestedToCapacityRatio; r != nil {
		for _, p := range r.Shape {
			f.Strategy.Shape = append(f.Strategy.Shape, noderesources.Point{Utilization: int64(p.Utilization), Score: int64(p.Score)})
		}
	}
	return f, nil
}

func newPreemption(args any, d Deps) (framework.Plugin, error) {
	a := args.(*DefaultPreemptionArgs)
	pl := &defaultpreemption.Plugin{
		MinPercentage: int(*a.MinCandidateNodesPercentage), MinAbsolute: int(*a.MinCandidateNodesAbsolute),
		Budgets: d.Budgets, Extend: d.Preempt, Now: d.Now, Rand: rand.New(rand.NewPCG(d.Seed, 0)),
	}
	return pl, nil
}

func newSpread(args any, d Deps) (framework.Plugin, error) {
	a := args.(*PodTopologySpreadArgs)
	pl := &podtopologyspread.Plugin{Defaults: a.DefaultConstraints}
	if a.DefaultingType == "System" {
		pl.Defaults, pl.System = systemSpread, true
	}
	if d.Owners != nil {
		pl.Selects = d.Owners.Selects
	}
	return pl, nil
}

// Profiles makes the profiles of a configuration.
func Profiles(c *Configuration, d Deps) ([]*framework.Profile, error) {
	if d.Volumes == nil {
		d.Volumes = volumes.New()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	var out []*framework.Profile
	for i := range c.Profiles {
		p, err := c.Profiles[i].build(d)
		if err != nil {
			return nil, fmt.Errorf("profiles[%d]: %w", i, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p *Profile) build(d Deps) (*framework.Profile, error) {
	b := &builder{profile: p, deps: d, made: map[string]framework.Plugin{}}
	out := &framework.Profile{Name: *p.SchedulerName, Wildcard: map[string]bool{}}
	s := p.Plugins
	out.PreEnqueue = collect[framework.PreEnqueuer](b, s.PreEnqueue)
	sorters := collect[framework.QueueSorter](b, s.QueueSort)
	// A plugin compiles its filter in PreFilter: it filters when it is on at
	// either point.
	prefilters, filters := collect[framework.PreFilterer](b, s.PreFilter), collect[framework.PreFilterer](b, s.Filter)
	out.Filters = union(prefilters, filters)
	out.PostFilter = collect[framework.PostFilterer](b, s.PostFilter)
	scores := collect[framework.PreScorer](b, s.Score)
	for _, pl := range scores {
		out.Scores = append(out.Scores, framework.Weighted{PreScorer: pl, Weight: b.weight(s.Score, pl.Name())})
	}
	out.Reserve = collect[framework.Reserver](b, s.Reserve)
	out.Permit = collect[framework.Permitter](b, s.Permit)
	out.PreBind = collect[framework.PreBinder](b, s.PreBind)
	out.Bind = collect[framework.Binder](b, s.Bind)
	out.PostBind = collect[framework.PostBinder](b, s.PostBind)
	if b.err != nil {
		return nil, b.err
	}
	if len(sorters) != 1 {
		return nil, fmt.Errorf("one queue sort plugin required for profile with scheduler name %q, but got %d", out.Name, len(sorters))
	}
	out.QueueSort = sorters[0]
	if len(out.Bind) == 0 {
		return nil, fmt.Errorf("at least one bind plugin is needed for profile with scheduler name %q", out.Name)
	}
	b.events(out)
	return out, nil
}

// builder makes each plugin of a profile once.
type builder struct {
	profile *Profile
	deps    Deps
	made    map[string]framework.Plugin
	order   []framework.Plugin
	err     error
}

func (b *builder) plugin(name string) framework.Plugin {
	if p := b.made[name]; p != nil || b.err != nil {
		return p
	}
	f := factories[name]
	if f == nil {
		b.err = fmt.Errorf("plugin %q does not exist", name)
		return nil
	}
	p, err := f(b.profile.args(name), b.deps)
	if err != nil {
		b.err = fmt.Errorf("initializing plugin %q: %w", name, err)
		return nil
	}
	b.made[name] = p
	b.order = append(b.order, p)
	return p
}

// collect gives the plugins of an extension point: those of the point that
// override the multiPoint, the rest of the multiPoint, the rest of the point.
func collect[P framework.Plugin](b *builder, s PluginSet) []P {
	multi := b.profile.Plugins.MultiPoint.Enabled
	has := func(list []Plugin, name string) bool {
		return slices.ContainsFunc(list, func(p Plugin) bool { return p.Name == name })
	}
	var out []P
	add := func(p Plugin, must bool) {
		pl := b.plugin(p.Name)
		if pl == nil {
			return
		}
		if one, ok := pl.(P); ok {
			out = append(out, one)
		} else if must && b.err == nil {
			b.err = fmt.Errorf("plugin %q does not extend this point: it is no %T", p.Name, (*P)(nil))
		}
	}
	for _, p := range s.Enabled {
		if has(multi, p.Name) {
			add(p, true)
		}
	}
	for _, p := range multi {
		if !has(s.Enabled, p.Name) && !has(s.Disabled, p.Name) && !has(s.Disabled, "*") {
			add(p, false)
		}
	}
	for _, p := range s.Enabled {
		if !has(multi, p.Name) {
			add(p, true)
		}
	}
	return out
}

func union[P framework.Plugin](a, b []P) []P {
	out := slices.Clone(a)
	for _, p := range b {
		if !slices.ContainsFunc(out, func(o P) bool { return o.Name() == p.Name() }) {
			out = append(out, p)
		}
	}
	return out
}

// weight of a score: the point's own, else the multiPoint's, else 1.
func (b *builder) weight(s PluginSet, name string) int64 {
	for _, list := range [][]Plugin{s.Enabled, b.profile.Plugins.MultiPoint.Enabled, defaultPlugins} {
		for _, p := range list {
			if p.Name == name && p.Weight != nil && *p.Weight != 0 {
				return int64(*p.Weight)
			}
		}
	}
	return 1
}

// events gathers what plugins wait for and what signs pods.
func (b *builder) events(out *framework.Profile) {
	for _, p := range b.order {
		if s, ok := p.(framework.Signer); ok {
			out.Signers = append(out.Signers, s)
		}
		if e, ok := p.(framework.Enqueuer); ok {
			out.Enqueue = append(out.Enqueue, e)
			continue
		}
		out.Wildcard[p.Name()] = true
	}
}
