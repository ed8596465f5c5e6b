package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"xebec.dev/client/daemon"
)

// Load reads a file, strictly, and fills in the defaults; no path is all
// defaults.
func Load(path string) (*Configuration, error) {
	c := &Configuration{}
	if path != "" {
		if _, err := daemon.ReadConfig(path, Group, Kind, []string{Version}, c); err != nil {
			return nil, err
		}
	}
	if err := c.defaults(); err != nil {
		return nil, err
	}
	return c, nil
}

// Decode is Load of a file's content.
func Decode(content []byte) (*Configuration, error) {
	c := &Configuration{}
	if _, err := daemon.DecodeConfig(content, Group, Kind, []string{Version}, c); err != nil {
		return nil, err
	}
	if err := c.defaults(); err != nil {
		return nil, err
	}
	return c, nil
}

// Defaults of what has no effect: other values are told.
const (
	defaultParallelism = 16
	defaultQPS         = 50
	defaultBurst       = 100
	defaultContentType = "application/vnd.kubernetes.protobuf"
)

// Ignored names the fields that were given and do nothing, with the reason.
func (c *Configuration) Ignored() map[string]string {
	out := map[string]string{}
	const all = "all nodes take part in each decision"
	// 100 asks for what is done anyway.
	sampled := func(v *int32) bool { return v != nil && *v > 0 && *v < 100 }
	if sampled(c.PercentageOfNodesToScore) {
		out["percentageOfNodesToScore"] = all
	}
	for i := range c.Profiles {
		if sampled(c.Profiles[i].PercentageOfNodesToScore) {
			out[fmt.Sprintf("profiles[%d].percentageOfNodesToScore", i)] = all
		}
	}
	if *c.Parallelism != defaultParallelism {
		out["parallelism"] = "one goroutine decides"
	}
	if c.DelayCacheUntilActive {
		out["delayCacheUntilActive"] = "a replica that does not lead follows the cluster"
	}
	x := &c.ClientConnection
	if x.QPS != defaultQPS || x.Burst != defaultBurst {
		out["clientConnection.qps"] = "the API server limits its clients"
	}
	if x.AcceptContentTypes != "" || x.ContentType != defaultContentType {
		out["clientConnection.contentType"] = "the protocol is gRPC with protobuf"
	}
	return out
}

// Write writes a configuration to a file.
func Write(path string, c *Configuration) error {
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func (c *Configuration) defaults() error {
	c.Kind, c.APIVersion = Kind, Group+"/"+Version
	setDefault(&c.Parallelism, defaultParallelism)
	setDefault(&c.PercentageOfNodesToScore, 0)
	setDefault(&c.PodInitialBackoffSeconds, 1)
	setDefault(&c.PodMaxBackoffSeconds, 10)
	setDefault(&c.EnableProfiling, true)
	setDefault(&c.EnableContentionProfiling, true)
	le := &c.LeaderElection
	setDefault(&le.LeaderElect, true)
	for _, d := range []struct {
		to *time.Duration
		v  time.Duration
	}{{&le.LeaseDuration.Duration, 15 * time.Second}, {&le.RenewDeadline.Duration, 10 * time.Second}, {&le.RetryPeriod.Duration, 2 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.v
		}
	}
	for _, s := range []struct {
		to *string
		v  string
	}{{&le.ResourceLock, "leases"}, {&le.ResourceName, "kube-scheduler"}, {&le.ResourceNamespace, "kube-system"}, {&c.ClientConnection.ContentType, defaultContentType}} {
		if *s.to == "" {
			*s.to = s.v
		}
	}
	if c.ClientConnection.QPS == 0 {
		c.ClientConnection.QPS = defaultQPS
	}
	if c.ClientConnection.Burst == 0 {
		c.ClientConnection.Burst = defaultBurst
	}
	if len(c.Profiles) == 0 {
		c.Profiles = []Profile{{}}
	}
	if len(c.Profiles) == 1 {
		setDefault(&c.Profiles[0].SchedulerName, DefaultScheduler)
	}
	for i := range c.Profiles {
		if err := c.Profiles[i].defaults(); err != nil {
			return fmt.Errorf("profiles[%d]%w", i, err)
		}
	}
	for i := range c.Extenders {
		e := &c.Extenders[i]
		if e.HTTPTimeout.Duration == 0 {
			e.HTTPTimeout.Duration = 5 * time.Second
		}
	}
	return nil
}

// defaults merges the plugins with those that are on by default and reads
// their arguments.
func (p *Profile) defaults() error {
	if p.Plugins == nil {
		p.Plugins = &Plugins{}
	}
	p.Plugins.MultiPoint = merge(defaultPlugins, p.Plugins.MultiPoint)
	seen := map[string]bool{}
	for i := range p.PluginConfig {
		pc := &p.PluginConfig[i]
		if seen[pc.Name] {
			return fmt.Errorf(".pluginConfig[%d]: Duplicate value: %q", i, pc.Name)
		}
		seen[pc.Name] = true
		if err := pc.parse(); err != nil {
			return fmt.Errorf(".pluginConfig[%d].args: decoding args for plugin %q: %w", i, pc.Name, err)
		}
	}
	for _, d := range defaultPlugins {
		if f := newArgs[d.Name]; f != nil && !seen[d.Name] {
			args := f()
			complete(args)
			pc := PluginConfig{Name: d.Name, parsed: args}
			pc.show()
			p.PluginConfig = append(p.PluginConfig, pc)
		}
	}
	return nil
}

func (pc *PluginConfig) parse() error {
	f := newArgs[pc.Name]
	if f == nil {
		if len(pc.Args.Raw) > 0 {
			return errors.New("the plugin takes no arguments")
		}
		return nil
	}
	args := f()
	if len(pc.Args.Raw) > 0 {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := json.UnmarshalCaseSensitivePreserveInts(pc.Args.Raw, &head); err != nil {
			return err
		}
		if head.Kind != "" && head.Kind != pc.Name+"Args" || head.APIVersion != "" && head.APIVersion != Group+"/"+Version {
			return fmt.Errorf("no kind %q is registered for version %q, want %sArgs of %s/%s", head.Kind, head.APIVersion, pc.Name, Group, Version)
		}
		strict, err := json.UnmarshalStrict(pc.Args.Raw, args)
		if err != nil {
			return err
		}
		if len(strict) > 0 {
			return fmt.Errorf("strict decoding error: %w", errors.Join(strict...))
		}
	}
	complete(args)
	pc.parsed = args
	pc.show()
	return nil
}

// show puts the arguments in force where /configz shows them.
func (pc *PluginConfig) show() {
	raw, err := yaml.Marshal(pc.parsed)
	if err == nil {
		raw, err = yaml.YAMLToJSON(raw)
	}
	if err == nil {
		pc.Args.Raw = raw
	}
}

// args of a plugin, with defaults.
func (p *Profile) args(name string) any {
	for i := range p.PluginConfig {
		if p.PluginConfig[i].Name == name {
			return p.PluginConfig[i].parsed
		}
	}
	if f := newArgs[name]; f != nil {
		args := f()
		complete(args)
		return args
	}
	return nil
}

// merge puts a set in force over the defaults: a default that is listed again
// is configured anew in its place, others follow.
func merge(defaults []Plugin, s PluginSet) PluginSet {
	off := func(name string) bool {
		return slices.ContainsFunc(s.Disabled, func(p Plugin) bool { return p.Name == name || p.Name == "*" })
	}
	var out []Plugin
	replaced := map[string]bool{}
	for _, d := range defaults {
		if off(d.Name) {
			continue
		}
		if i := slices.IndexFunc(s.Enabled, func(p Plugin) bool { return p.Name == d.Name }); i >= 0 {
			replaced[d.Name] = true
			d = s.Enabled[i]
		}
		out = append(out, d)
	}
	for _, p := range s.Enabled {
		if !replaced[p.Name] {
			out = append(out, p)
		}
	}
	return PluginSet{Enabled: out, Disabled: s.Disabled}
}
