package codec

import (
	"errors"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// DecodeJSON reads one JSON document into a struct as Kubernetes does: names
// match by case, integers stay integers. With strict it also returns what was
// unknown or given twice, in the order of the document; the struct is filled
// all the same.
//
// Strings of the struct may share one copy of the document.
func DecodeJSON(data []byte, into any, strict bool) (problems []error, err error) {
	if TryJSON(data, into) {
		return nil, nil
	}
	if strict {
		return kjson.UnmarshalStrict(data, into)
	}
	return nil, kjson.UnmarshalCaseSensitivePreserveInts(data, into)
}

// JSONFromYAML turns a YAML document into JSON. With strict, keys given twice
// in one map are a problem, a line for each.
func JSONFromYAML(data []byte, strict bool) (json []byte, problem error, err error) {
	json, err = yaml.YAMLToJSON(data)
	if err != nil {
		return nil, nil, err
	}
	if strict {
		if _, err := yaml.YAMLToJSONStrict(data); err != nil {
			problem = errors.New(firstLines(err.Error(), maxProblems+1))
		}
	}
	return json, problem, nil
}

// maxProblems is how many problems of one document are told, as many as
// sigs.k8s.io/json tells.
const maxProblems = 100

func firstLines(s string, n int) string {
	at := 0
	for range n {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return s
		}
		at += i + 1
	}
	return s[:at-1]
}

// YAMLFromJSON is the YAML form that Kubernetes answers: keys in order.
func YAMLFromJSON(data []byte) ([]byte, error) { return yaml.JSONToYAML(data) }

// Warnings are strict problems as the texts of Warning headers: one a line,
// without YAML's preamble.
func Warnings(problems []error) []string {
	var out []string
	for _, p := range problems {
		text, isYAML := strings.CutPrefix(p.Error(), "yaml: unmarshal errors:\n")
		if !isYAML {
			out = append(out, text)
			continue
		}
		for _, line := range strings.Split(text, "\n") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}
