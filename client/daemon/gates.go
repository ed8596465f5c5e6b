package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Stage of a feature.
type Stage string

// The stages of Kubernetes' features.
const (
	Alpha Stage = "ALPHA"
	Beta  Stage = "BETA"
	// Stable features can't be turned off.
	Stable Stage = ""
)

// Gate is a feature that can be switched.
type Gate struct {
	Name    string
	Default bool
	Stage   Stage
}

// Gates are the gates of a process. They are settled before it runs.
type Gates struct {
	known  map[string]Gate
	given  map[string]bool
	strays map[string]bool
}

func newGates(known []Gate) *Gates {
	g := &Gates{known: map[string]Gate{}, given: map[string]bool{}, strays: map[string]bool{}}
	for _, k := range known {
		g.known[k.Name] = k
	}
	return g
}

func (g *Gates) add(fs *pflag.FlagSet) {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(g.known)) {
		k := g.known[name]
		stage := ""
		if k.Stage != Stable {
			stage = string(k.Stage) + " - "
		}
		lines = append(lines, fmt.Sprintf("%s=true|false (%sdefault=%t)", name, stage, k.Default))
	}
	fs.Var(g, "feature-gates", "A set of key=value pairs that describe feature gates for alpha/experimental features. Options are:\n"+strings.Join(lines, "\n"))
}

// Enabled reports whether a feature is on.
func (g *Gates) Enabled(name string) bool {
	if v, ok := g.given[name]; ok {
		return v
	}
	k := g.known[name]
	if v, ok := g.given["AllAlpha"]; ok && k.Stage == Alpha {
		return v
	}
	if v, ok := g.given["AllBeta"]; ok && k.Stage == Beta {
		return v
	}
	return k.Default
}

// unknown are the gates given that nobody here knows: other components', or
// other releases'.
func (g *Gates) unknown() []string { return slices.Sorted(maps.Keys(g.strays)) }

// Set implements pflag.Value: A=true,B=false.
func (g *Gates) Set(s string) error {
	for _, pair := range strings.Split(s, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("missing bool value for %s", pair)
		}
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("invalid value of %s: %s, err: %w", name, value, err)
		}
		if err := g.SetOne(strings.TrimSpace(name), on); err != nil {
			return err
		}
	}
	return nil
}

// SetOne switches a gate, as a configuration file does.
func (g *Gates) SetOne(name string, on bool) error {
	k, ok := g.known[name]
	switch {
	case name == "AllAlpha" || name == "AllBeta":
	case !ok:
		g.strays[name] = on
		return nil
	case k.Stage == Stable && on != k.Default:
		return fmt.Errorf("cannot set feature gate %s to %t, feature is locked to %t", name, on, k.Default)
	}
	g.given[name] = on
	return nil
}

// String implements pflag.Value.
func (g *Gates) String() string {
	if g == nil {
		return ""
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(g.given)) {
		out = append(out, fmt.Sprintf("%s=%t", name, g.given[name]))
	}
	return strings.Join(out, ",")
}

// Type implements pflag.Value.
func (g *Gates) Type() string { return "mapStringBool" }
