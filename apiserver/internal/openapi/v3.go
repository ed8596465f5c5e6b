package openapi

// v3Document is an OpenAPI v3 document as JSON data.
func v3Document(m *models, version string, items []pathItem) map[string]any {
	paths := make(map[string]any, len(items))
	for _, item := range items {
		paths[item.path] = v3Path(item)
	}
	components := map[string]any{
		"securitySchemes": map[string]any{"BearerToken": bearerToken()},
	}
	if names := m.used(items); len(names) > 0 {
		components["schemas"] = m.schemas(names, toV3, toV3)
	}
	return map[string]any{
		"openapi":    "3.0.0",
		"info":       map[string]any{"title": "Kubernetes", "version": version},
		"paths":      paths,
		"components": components,
	}
}

func bearerToken() map[string]any {
	return map[string]any{"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}
}

func v3Path(item pathItem) map[string]any {
	shared := item.shared()
	out := map[string]any{}
	if len(shared) > 0 {
		out["parameters"] = v3Parameters(shared)
	}
	for _, o := range item.operations {
		out[o.method] = v3Operation(&o, shared)
	}
	return out
}

func v3Operation(o *operation, shared []parameter) map[string]any {
	out := map[string]any{"operationId": o.id, "description": o.description, "tags": []any{o.tag}}
	extend(out, o)
	if own := o.own(shared); len(own) > 0 {
		out["parameters"] = v3Parameters(own)
	}
	if o.body != nil {
		body := map[string]any{"content": v3Content(o.body)}
		if o.body.required {
			body["required"] = true
		}
		out["requestBody"] = body
	}
	responses := map[string]any{}
	for _, r := range o.responses {
		response := map[string]any{"description": r.description}
		if r.content != nil {
			response["content"] = v3Content(r.content)
		}
		responses[r.code] = response
	}
	out["responses"] = responses
	return out
}

// extend adds Kubernetes' extensions.
func extend(out map[string]any, o *operation) {
	if o.action != "" {
		out["x-kubernetes-action"] = o.action
	}
	if !o.kind.Empty() {
		out["x-kubernetes-group-version-kind"] = kindMap(o.kind)
	}
}

func v3Content(c *content) map[string]any {
	out := map[string]any{}
	for _, media := range c.media {
		schema := map[string]any{"type": "string"}
		if c.model != "" {
			schema = map[string]any{"$ref": componentPrefix + c.model}
		}
		out[media] = map[string]any{"schema": schema}
	}
	return out
}

func v3Parameters(list []parameter) []any {
	var out []any
	for _, p := range list {
		q := map[string]any{"name": p.name, "in": p.in, "schema": map[string]any{"type": p.typ, "uniqueItems": true}}
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
