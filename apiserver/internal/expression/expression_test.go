package expression

import (
	"context"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
)

func scope() *Scope {
	inner := &Struct{Name: "test.Inner", Fields: map[string]*cel.Type{"verb": cel.StringType}}
	outer := &Struct{Name: "test.Outer", Fields: map[string]*cel.Type{
		"user": cel.StringType, "groups": cel.ListType(cel.StringType), "inner": inner.Type(),
		"extra": cel.MapType(cel.StringType, cel.ListType(cel.StringType)),
	}, Nested: []*Struct{inner}}
	return &Scope{
		Variables: map[string]*cel.Type{"request": outer.Type(), "claims": cel.MapType(cel.StringType, cel.DynType)},
		Structs:   []*Struct{outer},
	}
}

func TestEval(t *testing.T) {
	values := map[string]any{
		"request": map[string]any{"user": "u", "groups": []any{"a", "b"}, "inner": map[string]any{"verb": "get"}, "extra": map[string]any{"k": []any{"v"}}},
		"claims":  map[string]any{"sub": "x:y", "n": 3.0, "nested": map[string]any{"a": true}, "roles": []any{"r"}},
	}
	for source, want := range map[string]bool{
		"request.user == 'u'":                                    true,
		"request.inner.verb in ['get', 'list']":                  true,
		"'a' in request.groups":                                  true,
		"has(request.inner) && has(request.inner.verb)":          true,
		"request.extra['k'] == ['v']":                            true,
		"claims.sub.split(':')[0] == 'x'":                        true,
		"claims.n > 2":                                           true,
		"claims.nested.a":                                        true,
		"claims.?missing.orValue('d') == 'd'":                    true,
		"has(claims.missing)":                                    false,
		"claims.roles.all(r, r.startsWith('r'))":                 true,
		"request.?inner.?verb.orValue('') == 'get'":              true,
		"sets.contains(request.groups, ['a', 'c'])":              false,
		"!request.groups.exists(g, g == 'system:masters')":       true,
		"request.user.lowerAscii().replace('u', 'v') == 'v'":     true,
		"dyn(request.user) == 'u' && type(request.user)==string": true,
	} {
		p, err := scope().Compile(source, cel.BoolType)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := p.EvalBool(context.Background(), values); err != nil || got != want {
			t.Errorf("%s: %v %v", source, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	s := scope()
	for source, want := range map[string]string{
		"request.usre == 'u'":     "undefined field 'usre'",
		"request.inner.x == 'u'":  "undefined field 'x'",
		"request.user":            "must evaluate to bool",
		"nothing":                 "undeclared reference",
		"request.user == 1":       "no matching overload",
		"request.user == 'u' && ": "Syntax error",
	} {
		if _, err := s.Compile(source, cel.BoolType); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
	p, err := s.Compile("request.inner.verb == 'get'", cel.BoolType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.EvalBool(context.Background(), map[string]any{"request": map[string]any{}, "claims": map[string]any{}}); err == nil || !strings.Contains(err.Error(), "no such key: inner") {
		t.Errorf("unset field: %v", err)
	}
	if !p.Reads("request") || p.Reads("claims") {
		t.Error("Reads")
	}
	many := make([]any, 2000)
	for i := range many {
		many[i] = "x"
	}
	p, err = s.Compile("request.groups.all(a, request.groups.all(b, request.groups.all(c, a == b && b == c)))", cel.BoolType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.EvalBool(context.Background(), map[string]any{"request": map[string]any{"groups": many}}); err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
		t.Errorf("cost: %v", err)
	}
}
