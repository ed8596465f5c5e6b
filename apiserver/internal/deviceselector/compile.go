// Package deviceselector checks the CEL expressions by which resource claims
// and device classes choose devices. Nothing of CEL is set up before the first
// expression comes.
package deviceselector

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/ext"
	resourcev1 "k8s.io/api/resource/v1"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/library"

	"xebec.dev/api/resource"
	"xebec.dev/apiserver/internal/expression"
)

// device is what expressions see. Attributes and capacities are grouped by
// their domain.
var device = &expression.Struct{
	Name: "kubernetes.DRADevice",
	Fields: map[string]*cel.Type{
		"driver":                   cel.StringType,
		"attributes":               cel.MapType(cel.StringType, cel.MapType(cel.StringType, cel.AnyType)),
		"capacity":                 cel.MapType(cel.StringType, cel.MapType(cel.StringType, apiservercel.QuantityType)),
		"allowMultipleAllocations": cel.BoolType,
	},
}

// Compile is a resource.CompileExpression.
func Compile(source string, stored bool) *resource.Fault {
	env, err := language(stored)
	if err != nil {
		return &resource.Fault{Message: err.Error()}
	}
	ast, issues := env.Compile(source)
	if issues != nil && issues.Err() != nil {
		return &resource.Fault{Message: "compilation failed: " + issues.String()}
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.AnyType) {
		return &resource.Fault{Message: fmt.Sprintf("must evaluate to bool or the unknown type, not %s", t)}
	}
	if stored {
		return nil // The estimate may have grown since.
	}
	cost, err := env.EstimateCost(ast, &library.CostEstimator{SizeEstimator: sizes{}})
	switch {
	case err != nil:
		return &resource.Fault{Message: "unexpected compilation error: " + err.Error()}
	case cost.Max > resourcev1.CELSelectorExpressionMaxCost:
		return &resource.Fault{TooCostly: true}
	}
	return nil
}

// language is what may be written. New expressions keep to what the version
// before understands, so that a server can be rolled back to it.
func language(stored bool) (*cel.Env, error) {
	if stored {
		return ofStored()
	}
	return ofNew()
}

var (
	ofNew    = sync.OnceValues(func() (*cel.Env, error) { return build(library.Lists(library.ListsVersion(0))) })
	ofStored = sync.OnceValues(func() (*cel.Env, error) { return build(library.Lists(library.ListsVersion(1))) })
)

func build(lists cel.EnvOption) (*cel.Env, error) {
	base, err := cel.NewEnv(append(expression.Language(),
		cel.CostEstimatorOptions(checker.PresenceTestHasCost(false)),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
		ext.Lists(ext.ListsVersion(3)),
		ext.Bindings(ext.BindingsVersion(0)),
		library.URLs(), library.Regex(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
		library.SemverLib(library.SemverVersion(1)),
		lists,
	)...)
	if err != nil {
		return nil, err
	}
	return base.Extend(expression.Structs(base, device), cel.Variable("device", device.Type()))
}
