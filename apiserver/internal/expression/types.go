package expression

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// Struct is an object type: its values are map[string]any, and a name that is
// no field does not compile.
type Struct struct {
	Name   string
	Fields map[string]*cel.Type
	// Nested are the types of fields that are structs.
	Nested []*Struct
}

// Type is the struct as a type of variables and fields.
func (s *Struct) Type() *cel.Type { return cel.ObjectType(s.Name) }

func (s *Struct) collect(into map[string]*Struct) {
	into[s.Name] = s
	for _, n := range s.Nested {
		n.collect(into)
	}
}

// Structs extends an environment by structs and what is nested in them.
func Structs(base *cel.Env, structs ...*Struct) cel.EnvOption {
	known := map[string]*Struct{}
	for _, s := range structs {
		s.collect(known)
	}
	return cel.CustomTypeProvider(&provider{base.CELTypeProvider(), known})
}

// provider adds structs to the types that an environment knows.
type provider struct {
	types.Provider
	structs map[string]*Struct
}

func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if s, ok := p.structs[name]; ok {
		return types.NewTypeTypeWithParam(s.Type()), true
	}
	return p.Provider.FindStructType(name)
}

func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	s, ok := p.structs[name]
	if !ok {
		return p.Provider.FindStructFieldNames(name)
	}
	names := make([]string, 0, len(s.Fields))
	for n := range s.Fields {
		names = append(names, n)
	}
	return names, true
}

func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := p.structs[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	t, ok := s.Fields[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			_, ok := fields(target)[field]
			return ok
		},
		GetFrom: func(target any) (any, error) {
			v, ok := fields(target)[field]
			if !ok {
				return nil, fmt.Errorf("no such key: %s", field)
			}
			return v, nil
		},
	}, true
}

func fields(target any) map[string]any {
	if v, ok := target.(ref.Val); ok {
		target = v.Value()
	}
	m, _ := target.(map[string]any)
	return m
}
