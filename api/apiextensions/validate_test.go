package apiextensions

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/observedtest"
)

const base = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"foos.example.com"},
	"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"foos","kind":"Foo"},
	"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`

// withSchema is a patch that gives the one version a schema.
func withSchema(schema string) string {
	return `{"spec":{"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":` + schema + `}}]}}`
}

// withField gives .spec.a a schema.
func withField(schema string) string {
	return withSchema(`{"type":"object","properties":{"spec":{"type":"object","properties":{"a":` + schema + `}}}}`)
}

const atA = "spec.validation.openAPIV3Schema.properties[spec].properties[a]"

func TestDefinition(t *testing.T) {
	webhook := func(rest string) string {
		return `{"spec":{"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"]` + rest + `}}}}`
	}
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "group without a dot", Patch: `{"metadata":{"name":"foos.example"},"spec":{"group":"example"}}`,
			Want: []string{`spec.group: Invalid value: "example": should be a domain with at least one dot`}},
		{Name: "approval neither URL nor excuse", Patch: `{"metadata":{"name":"foos.x.k8s.io","annotations":{"api-approved.kubernetes.io":"yes"}},"spec":{"group":"x.k8s.io"}}`,
			Want: []string{`metadata.annotations[api-approved.kubernetes.io]: Invalid value: "yes": protected groups must have approval annotation "api-approved.kubernetes.io" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`}},
		{Name: "approved", Patch: `{"metadata":{"name":"foos.x.k8s.io","annotations":{"api-approved.kubernetes.io":"https://a/b"}},"spec":{"group":"x.k8s.io"}}`},
		{Name: "short names and categories", Patch: `{"spec":{"names":{"shortNames":["f","F"],"categories":["all","A"]}}}`,
			Want: []string{
				`spec.names.shortNames[1]: Invalid value: "F": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
				`spec.names.categories[1]: Invalid value: "A": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`}},
		{Name: "long warning", Patch: `{"spec":{"versions":[{"name":"v1","served":true,"storage":true,"deprecated":true,"deprecationWarning":"` + strings.Repeat("x", 257) + `","schema":{"openAPIV3Schema":{"type":"object"}}}]}}`,
			Want: []string{`spec.versions[0].deprecationWarning: Invalid value: "` + strings.Repeat("x", 257) + `": must be <= 256 characters, was 257`}},
		{Name: "versions that differ keep their paths", Patch: `{"spec":{"versions":[
				{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}},
				{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"string"}},
				 "additionalPrinterColumns":[{"name":"A","type":"","jsonPath":".a"}],"subresources":{"scale":{"specReplicasPath":".spec.a","statusReplicasPath":"a"}}}]}}`,
			Want: []string{
				`spec.versions[1].additionalPrinterColumns[0].type: Required value: must be one of boolean,date,integer,number,string`,
				`spec.versions[1].schema.openAPIV3Schema.type: Invalid value: "string": must be object at the root`,
				`spec.versions[1].subresources.scale.statusReplicasPath: Invalid value: "a": must be a simple json path starting with .`}},
		{Name: "webhook without a client", Patch: webhook(``),
			Want: []string{`spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook`}},
		{Name: "webhook twice", Patch: webhook(`,"clientConfig":{"url":"https://a","service":{"name":"a","namespace":"b"}}`),
			Want: []string{`spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required`}},
		{Name: "webhook's bundle", Patch: webhook(`,"clientConfig":{"url":"https://a","caBundle":"YQ=="}`),
			Want: []string{`spec.conversion.webhookClientConfig.caBundle: Invalid value: "YQ==": unable to load root certificates: unable to parse bytes as PEM block`}},
		{Name: "webhook that is not called", Patch: `{"spec":{"conversion":{"strategy":"None","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://a"}}}}}`,
			Want: []string{
				`spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook`,
				`spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook`}},
		{Name: "group and plural never change", Old: base, Patch: `{"spec":{"group":"b.com","names":{"plural":"bars"}}}`,
			Want: []string{
				`spec.group: Invalid value: "b.com": field is immutable`,
				`spec.names.plural: Invalid value: "bars": field is immutable`}},
		{Name: "scope before it is established", Old: base, Patch: `{"spec":{"scope":"Cluster"}}`},
		{Name: "approval stays missing", Old: `{"metadata":{"name":"foos.x.k8s.io","annotations":{"api-approved.kubernetes.io":"unapproved"}},"spec":{"group":"x.k8s.io"}}`,
			Patch: `{"metadata":{"annotations":{"api-approved.kubernetes.io":null}}}`,
			Want:  []string{`metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111`}},
	})
}

func TestSchema(t *testing.T) {
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "root without a type", Patch: withSchema(`{"properties":{"a":{"type":"string"}}}`),
			Want: []string{`spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root`}},
		{Name: "items without a type", Patch: withField(`{"type":"array","items":{}}`),
			Want: []string{atA + `.items.type: Required value: must not be empty for specified array items`}},
		{Name: "type null", Patch: withField(`{"type":"null"}`),
			Want: []string{atA + `.type: Forbidden: type cannot be set to null, use nullable as an alternative`}},
		{Name: "map type", Patch: withField(`{"type":"string","x-kubernetes-map-type":"x"}`),
			Want: []string{
				atA + `.type: Invalid value: "string": must be object if x-kubernetes-map-type is specified`,
				atA + `.x-kubernetes-map-type: Unsupported value: "x": supported values: "atomic", "granular"`}},
		{Name: "integer or string", Patch: withField(`{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]}`)},
		{Name: "integer or string within allOf", Patch: withField(`{"x-kubernetes-int-or-string":true,"allOf":[{"anyOf":[{"type":"integer"},{"type":"string"}]},{"pattern":"a"}]}`)},
		{Name: "types below allOf", Patch: withField(`{"x-kubernetes-int-or-string":true,"allOf":[{"pattern":"a"},{"anyOf":[{"type":"integer"},{"type":"string"}]}]}`),
			Want: []string{
				atA + `.allOf[1].anyOf[0].type: Forbidden: must be empty to be structural`,
				atA + `.allOf[1].anyOf[1].type: Forbidden: must be empty to be structural`}},
		{Name: "list keys", Patch: withField(`{"type":"array","x-kubernetes-list-type":"set","x-kubernetes-list-map-keys":["a"],"items":{"type":"string","nullable":true}}`),
			Want: []string{
				atA + `.x-kubernetes-list-type: Invalid value: "set": must be map if x-kubernetes-list-map-keys is non-empty`,
				atA + `.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set`}},
		{Name: "map of texts", Patch: withField(`{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["a"],"items":{"type":"string"}}`),
			Want: []string{atA + `.items.type: Invalid value: "string": must be object if parent array's x-kubernetes-list-type is map`}},
		{Name: "rules", Patch: withField(`{"type":"string","x-kubernetes-validations":[{"rule":"true","message":" "},{"rule":"true","message":"a\nb"},
				{"rule":"true","messageExpression":" "},{"rule":"true","fieldPath":" "}]}`),
			Want: []string{
				atA + `.x-kubernetes-validations[0].message: Invalid value: " ": message must be non-empty if specified`,
				atA + `.x-kubernetes-validations[1].message: Invalid value: "a\nb": message must not contain line breaks`,
				atA + `.x-kubernetes-validations[2].messageExpression: Required value: messageExpression must be non-empty if specified`,
				atA + `.x-kubernetes-validations[3].fieldPath: Invalid value: " ": fieldPath must be non-empty if specified`}},
		{Name: "formats", Patch: withField(`{"type":"object","properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"integer","format":"int64"},
				"c":{"type":"array","format":"cidr","items":{"type":"string","format":"cidr"}},"d":{"type":"string","format":"int64"}}}`),
			Warnings: []string{`unrecognized format "cidr"`, `unrecognized format "int64"`}},
		{Name: "loose root below a status", Patch: `{"spec":{"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
				"schema":{"openAPIV3Schema":{"type":"object","description":"d","required":["spec"],"properties":{"spec":{"type":"object"}}}}}]}}`},
	})
}

func TestStatusRoot(t *testing.T) {
	d := apiextensionsv1.CustomResourceDefinitionVersion{
		Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
		Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema{Type: "object", OneOf: []schema{{Required: []string{"a"}}}}},
	}
	errs := (&definition{}).validateSchema(field.NewPath("s"), &d)
	if len(errs) != 1 || !strings.HasSuffix(errs[0].Error(), "fields are allowed at the root of the schema if the status subresource is enabled") {
		t.Errorf("got %v", errs)
	}
}

func TestChecks(t *testing.T) {
	var seen []string
	c := Checks{
		Defaults: func(p *field.Path, _ *schema) field.ErrorList {
			seen = append(seen, "defaults "+p.String())
			return nil
		},
		Rules: func(p *field.Path, s, old *schema) field.ErrorList {
			seen = append(seen, "rules "+p.String())
			if old != nil {
				return field.ErrorList{field.Invalid(p, s.Type, "old "+old.Type)}
			}
			return nil
		},
	}
	observedtest.Attempts(t, ResourcesWith(c)[0], base, []observedtest.Attempt{
		{Name: "old schema", Old: base, Patch: `{"metadata":{"labels":{"a":"b"}}}`,
			Want: []string{`spec.validation.openAPIV3Schema: Invalid value: "object": old object`}},
	})
	if want := strings.Repeat("defaults spec.validation.openAPIV3Schema rules spec.validation.openAPIV3Schema ", 2); strings.Join(seen, " ")+" " != want {
		t.Errorf("checked %q", seen)
	}
}

func TestResolve(t *testing.T) {
	s := &schema{Type: "object", Properties: map[string]schema{"spec": {Type: "object", Properties: map[string]schema{
		"a.b": {Type: "string"}, "m": {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Schema: &schema{Type: "boolean"}}},
	}}}}
	for path, want := range map[string]string{
		".spec['a.b']": "", ".spec.m.x": "", ".spec.": "unexpected end of JSON path", ".spec['a": "unexpected end of JSON path",
		".spec[0]": "array notation is not allowed", ".spec.a.b": "does not refer to a valid field", "spec": "expected [ or . but got: spec",
	} {
		got := ""
		if _, _, err := resolve(s, path); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{".a.b", ".a['b.c']", "a[0]", ".", "['"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, err := split(text)
		if err == nil && text != "" && len(names) == 0 {
			t.Errorf("%q names nothing", text)
		}
		_ = pathFault(text) // must not panic
	})
}
