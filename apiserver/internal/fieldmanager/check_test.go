package fieldmanager

import "testing"

// TestConfiguration has what v1.37 says of what is no configuration.
func TestConfiguration(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":1}`:     "",
		"a: 1":        "",
		"not: [valid": "error encoding patch: yaml: line 1: did not find expected ',' or ']'",
		"a: .nan":     "error encoding patch: json: unsupported value: NaN",
		` {"a":1`:     "error decoding patch: error converting YAML to JSON: yaml: line 1: did not find expected ',' or '}'",
		"{a: 1":       "error decoding patch: error converting YAML to JSON: yaml: line 1: did not find expected ',' or '}'",
		"- a":         "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
	} {
		got := ""
		if _, err := configuration([]byte(body)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
	const twice = "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"a\" already set in map"
	if _, err := CheckPatch([]byte("a: 1\na: 2"), "Strict"); err == nil || err.Error() != twice {
		t.Errorf("a field given twice: %v", err)
	}
}
