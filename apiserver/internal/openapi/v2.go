package openapi

// v2Document is the OpenAPI v2 document of all paths as JSON data.
func v2Document(m *models, version string, items []pathItem) map[string]any {
	paths := make(map[string]any, len(items))
	for _, item := range items {
		paths[item.path] = v2Path(item)
	}
	return map[string]any{
		"swagger":             "2.0",
		"info":                map[string]any{"title": "Kubernetes", "version": version},
		"paths":               paths,
		"definitions":         m.schemas(m.used(items), toV2, customToV2),
		"securityDefinitions": map[string]any{"BearerToken": bearerToken()},
		"security":            []any{map[string]any{"BearerToken": []any{}}},
	}
}

func v2Path(item pathItem) map[string]any {
	shared := item.shared()
	out := map[string]any{}
	if len(shared) > 0 {
		out["parameters"] = v2Parameters(shared)
	}
	for _, o := range item.operations {
		out[o.method] = v2Operation(&o, shared)
	}
	return out
}

func v2Operation(o *operation, shared []parameter) map[string]any {
	consumes, parameters := anyMedia, v2Parameters(o.own(shared))
	if o.body != nil {
		consumes = o.body.media
		body := map[string]any{"name": "body", "in": "body", "schema": v2Schema(o.body)}
		if o.body.required {
			body["required"] = true
		}
		parameters = append([]any{body}, parameters...)
	}
	out := map[string]any{
		"operationId": o.id, "description": o.description, "tags": []any{o.tag}, "schemes": []any{"https"},
		"consumes": texts(consumes), "produces": texts(produced(o)),
	}
	extend(out, o)
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	responses := map[string]any{}
	for _, r := range o.responses {
		response := map[string]any{"description": r.description}
		if r.content != nil {
			response["schema"] = v2Schema(r.content)
		}
		responses[r.code] = response
	}
	out["responses"] = responses
	return out
}

// produced are the media types of the first answer that has any.
func produced(o *operation) []string {
	for _, r := range o.responses {
		if r.content != nil {
			return r.content.media
		}
	}
	return anyMedia
}

func v2Schema(c *content) map[string]any {
	if c.model == "" {
		return map[string]any{"type": "string"}
	}
	return map[string]any{"$ref": definitionPrefix + c.model}
}

func v2Parameters(list []parameter) []any {
	var out []any
	for _, p := range list {
		q := map[string]any{"name": p.name, "in": p.in, "type": p.typ, "uniqueItems": true}
		if p.description != "" {
			q["description"] = p.description
		}
		if p.required() {
			q["required"] = true
		}
		out = append(out, q)
	}
	return out
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
