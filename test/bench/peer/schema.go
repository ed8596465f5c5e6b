package main

import (
	"encoding/json"
	"strings"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"xebec.dev/api/openapi"
)

// definitions are the schemas that managed fields of Pods need.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	data := openapi.Load()
	roots := []string{"io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.PodList"}
	for _, n := range data.Names() {
		if strings.HasPrefix(n, "io.k8s.apimachinery.") {
			roots = append(roots, n)
		}
	}
	sample := ref("X")
	prefix := strings.TrimSuffix(sample.String(), "X")
	out := map[string]common.OpenAPIDefinition{}
	for _, n := range data.Closure(roots...) {
		text := strings.ReplaceAll(string(data.Schema(n)), "#/definitions/", prefix)
		var s spec.Schema
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			panic(err)
		}
		out[n] = common.OpenAPIDefinition{Schema: s, Dependencies: data.References(n)}
	}
	return out
}
