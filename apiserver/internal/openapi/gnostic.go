package openapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	gnostic "github.com/google/gnostic-models/openapiv2"
	gnosticv3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
)

// v2Protobuf is a v2 document in gnostic's protobuf form. The library's own
// way there goes through YAML nodes and costs a hundred times the document's
// size; this one reads the data that we built.
func v2Protobuf(doc map[string]any) ([]byte, error) {
	info := fieldsOf(doc["info"])
	out := &gnostic.Document{
		Swagger: text(doc["swagger"]),
		Info:    &gnostic.Info{Title: text(info["title"]), Version: text(info["version"])},
		Paths:   &gnostic.Paths{},
		Definitions: &gnostic.Definitions{
			AdditionalProperties: namedSchemas(fieldsOf(doc["definitions"])),
		},
		SecurityDefinitions: &gnostic.SecurityDefinitions{AdditionalProperties: []*gnostic.NamedSecurityDefinitionsItem{{
			Name: "BearerToken",
			Value: &gnostic.SecurityDefinitionsItem{Oneof: &gnostic.SecurityDefinitionsItem_ApiKeySecurity{ApiKeySecurity: &gnostic.ApiKeySecurity{
				Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
			}}},
		}}},
		Security: []*gnostic.SecurityRequirement{{AdditionalProperties: []*gnostic.NamedStringArray{{Name: "BearerToken", Value: &gnostic.StringArray{}}}}},
	}
	for _, path := range keys(fieldsOf(doc["paths"])) {
		item := fieldsOf(fieldsOf(doc["paths"])[path])
		out.Paths.Path = append(out.Paths.Path, &gnostic.NamedPathItem{Name: path, Value: v2PathItem(item)})
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(out)
}

// v3Protobuf is a v3 document in gnostic's protobuf form. Hardly a client asks
// for it, so the library's way is good enough.
func v3Protobuf(doc []byte) ([]byte, error) {
	parsed, err := gnosticv3.ParseDocument(doc)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
}

func v2PathItem(item map[string]any) *gnostic.PathItem {
	out := &gnostic.PathItem{Parameters: parameters(item["parameters"])}
	for method, set := range map[string]**gnostic.Operation{
		"get": &out.Get, "put": &out.Put, "post": &out.Post, "delete": &out.Delete, "options": &out.Options, "head": &out.Head, "patch": &out.Patch,
	} {
		if o, ok := item[method].(map[string]any); ok {
			*set = v2Op(o)
		}
	}
	return out
}

func v2Op(o map[string]any) *gnostic.Operation {
	out := &gnostic.Operation{
		OperationId: text(o["operationId"]), Description: text(o["description"]), Tags: strs(o["tags"]), Schemes: strs(o["schemes"]),
		Consumes: strs(o["consumes"]), Produces: strs(o["produces"]), Parameters: parameters(o["parameters"]),
		Responses: &gnostic.Responses{}, VendorExtension: extensions(o),
	}
	responses := fieldsOf(o["responses"])
	for _, code := range keys(responses) {
		r := fieldsOf(responses[code])
		response := &gnostic.Response{Description: text(r["description"])}
		if s, ok := r["schema"].(map[string]any); ok {
			response.Schema = &gnostic.SchemaItem{Oneof: &gnostic.SchemaItem_Schema{Schema: v2ProtoSchema(s)}}
		}
		out.Responses.ResponseCode = append(out.Responses.ResponseCode, &gnostic.NamedResponseValue{
			Name: code, Value: &gnostic.ResponseValue{Oneof: &gnostic.ResponseValue_Response{Response: response}},
		})
	}
	return out
}

func parameters(v any) []*gnostic.ParametersItem {
	list, _ := v.([]any)
	var out []*gnostic.ParametersItem
	for _, p := range list {
		out = append(out, &gnostic.ParametersItem{Oneof: &gnostic.ParametersItem_Parameter{Parameter: v2Parameter(fieldsOf(p))}})
	}
	return out
}

func v2Parameter(p map[string]any) *gnostic.Parameter {
	required, _ := p["required"].(bool)
	if text(p["in"]) == "body" {
		return &gnostic.Parameter{Oneof: &gnostic.Parameter_BodyParameter{BodyParameter: &gnostic.BodyParameter{
			Name: "body", In: "body", Required: required, Schema: v2ProtoSchema(fieldsOf(p["schema"])),
		}}}
	}
	non := &gnostic.NonBodyParameter{}
	if text(p["in"]) == "path" {
		non.Oneof = &gnostic.NonBodyParameter_PathParameterSubSchema{PathParameterSubSchema: &gnostic.PathParameterSubSchema{
			Name: text(p["name"]), In: "path", Description: text(p["description"]), Type: text(p["type"]), Required: required, UniqueItems: true,
		}}
	} else {
		non.Oneof = &gnostic.NonBodyParameter_QueryParameterSubSchema{QueryParameterSubSchema: &gnostic.QueryParameterSubSchema{
			Name: text(p["name"]), In: "query", Description: text(p["description"]), Type: text(p["type"]), UniqueItems: true,
		}}
	}
	return &gnostic.Parameter{Oneof: &gnostic.Parameter_NonBodyParameter{NonBodyParameter: non}}
}

func v2ProtoSchema(s map[string]any) *gnostic.Schema {
	out := &gnostic.Schema{
		XRef: text(s["$ref"]), Format: text(s["format"]), Description: text(s["description"]), Pattern: text(s["pattern"]),
		Required: strs(s["required"]), VendorExtension: extensions(s),
	}
	if t := text(s["type"]); t != "" {
		out.Type = &gnostic.TypeItem{Value: []string{t}}
	}
	if e, ok := s["enum"].([]any); ok {
		for _, v := range e {
			out.Enum = append(out.Enum, anyOf(v))
		}
	}
	if items, ok := s["items"].(map[string]any); ok {
		out.Items = &gnostic.ItemsItem{Schema: []*gnostic.Schema{v2ProtoSchema(items)}}
	}
	if p, ok := s["properties"].(map[string]any); ok {
		out.Properties = &gnostic.Properties{AdditionalProperties: namedSchemas(p)}
	}
	switch a := s["additionalProperties"].(type) {
	case map[string]any:
		out.AdditionalProperties = &gnostic.AdditionalPropertiesItem{Oneof: &gnostic.AdditionalPropertiesItem_Schema{Schema: v2ProtoSchema(a)}}
	case bool:
		out.AdditionalProperties = &gnostic.AdditionalPropertiesItem{Oneof: &gnostic.AdditionalPropertiesItem_Boolean{Boolean: a}}
	}
	return out
}

func namedSchemas(m map[string]any) []*gnostic.NamedSchema {
	var out []*gnostic.NamedSchema
	for _, name := range keys(m) {
		out = append(out, &gnostic.NamedSchema{Name: name, Value: v2ProtoSchema(fieldsOf(m[name]))})
	}
	return out
}

// extensions are the fields named "x-…".
func extensions(m map[string]any) []*gnostic.NamedAny {
	var out []*gnostic.NamedAny
	for _, name := range keys(m) {
		if strings.HasPrefix(name, "x-") {
			out = append(out, &gnostic.NamedAny{Name: name, Value: anyOf(m[name])})
		}
	}
	return out
}

// anyOf carries a value as YAML, of which JSON is a part.
func anyOf(v any) *gnostic.Any {
	b, err := json.Marshal(v)
	if err != nil {
		panic("openapi: " + err.Error()) // built from JSON data
	}
	return &gnostic.Any{Yaml: string(b) + "\n"}
}

func fieldsOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func strs(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
