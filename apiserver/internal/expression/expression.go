// Package expression compiles and runs CEL for configuration files. Nothing of
// CEL is set up before the first expression is compiled.
package expression

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
)

const (
	// costLimit is the highest cost of one evaluation.
	costLimit = 1_000_000
	// checkEvery is how many steps pass between looks at the context.
	checkEvery = 100
)

// Scope is what expressions of one place may name. It must not change after
// first use.
type Scope struct {
	Variables map[string]*cel.Type
	Structs   []*Struct

	once sync.Once
	env  *cel.Env
	err  error
}

func (s *Scope) environment() (*cel.Env, error) {
	s.once.Do(func() { s.env, s.err = s.build() })
	return s.env, s.err
}

// Language is what every expression of Kubernetes may use, whatever it is
// about.
func Language() []cel.EnvOption {
	return []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
		ext.TwoVarComprehensions(),
	}
}

func (s *Scope) build() (*cel.Env, error) {
	base, err := cel.NewEnv(Language()...)
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{Structs(base, s.Structs...)}
	for name, t := range s.Variables {
		options = append(options, cel.Variable(name, t))
	}
	return base.Extend(options...)
}

// Program is a compiled expression.
type Program struct {
	Source  string
	Type    *cel.Type
	program cel.Program
	// names are the variables that the expression reads.
	names map[string]bool
}

// Compile checks an expression, which must yield one of some types (any type
// when none is given).
func (s *Scope) Compile(source string, yields ...*cel.Type) (*Program, error) {
	env, err := s.environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if issues != nil && issues.Err() != nil {
		return nil, fmt.Errorf("compilation failed: %w", issues.Err())
	}
	out := ast.OutputType()
	if !oneOf(out, yields) {
		return nil, fmt.Errorf("must evaluate to %s", describe(yields))
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(costLimit), cel.InterruptCheckFrequency(checkEvery))
	if err != nil {
		return nil, fmt.Errorf("instantiation failed: %w", err)
	}
	names := map[string]bool{}
	for _, r := range ast.NativeRep().ReferenceMap() {
		if r.Name != "" {
			names[r.Name] = true
		}
	}
	return &Program{Source: source, Type: out, program: p, names: names}, nil
}

func oneOf(t *cel.Type, set []*cel.Type) bool {
	if len(set) == 0 || t.IsExactType(cel.DynType) {
		return true
	}
	for _, s := range set {
		if t.IsExactType(s) {
			return true
		}
	}
	return false
}

func describe(set []*cel.Type) string {
	text := ""
	for i, t := range set {
		if i > 0 {
			text += " or "
		}
		text += t.String()
	}
	return text
}

// Reads reports whether the expression names a variable.
func (p *Program) Reads(variable string) bool { return p.names[variable] }

// Eval runs the program with the variables' values.
func (p *Program) Eval(ctx context.Context, values map[string]any) (ref.Val, error) {
	activation, err := interpreter.NewActivation(values)
	if err != nil {
		return nil, err
	}
	v, _, err := p.program.ContextEval(ctx, activation)
	return v, err
}

// EvalBool runs a program that yields a bool.
func (p *Program) EvalBool(ctx context.Context, values map[string]any) (bool, error) {
	v, err := p.Eval(ctx, values)
	if err != nil {
		return false, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%q did not evaluate to a bool", p.Source)
	}
	return b, nil
}
