package encode

import "testing"

const (
	routerOffer     = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"
	routerListOffer = routerOffer + ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
	offered         = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
	watchOffered    = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
)

func TestNegotiate(t *testing.T) {
	one := Endpoint{Transforms: true}
	list := Endpoint{Transforms: true, Collection: true}
	watch := Endpoint{Transforms: true, Collection: true, Watch: true}
	custom := Endpoint{Transforms: true, NoProtobuf: true, Unrouted: true}
	const meta = ";g=meta.k8s.io;v=v1"
	for _, c := range []struct {
		accept string
		e      Endpoint
		want   Format
		err    string
	}{
		{"", one, Format{}, ""},
		{"*/*", one, Format{}, ""},
		{"application/json", one, Format{}, ""},
		{"application/json;q=0", one, Format{}, ""},
		{"application/json;charset=utf-8", one, Format{}, ""},
		{"application/json;pretty=1", one, Format{Pretty: true}, ""},
		{"application/foo,application/json", one, Format{}, ""},
		{"application/yaml", one, Format{Media: YAML}, ""},
		{"application/vnd.kubernetes.protobuf, */*", one, Format{Media: Protobuf}, ""},
		{"*/*, application/yaml", one, Format{Media: YAML}, ""},
		{"application/json;q=0.5,application/yaml;q=0.9", one, Format{Media: YAML}, ""},
		{"application/*", one, Format{}, routerOffer},
		{"Application/Json", one, Format{}, routerOffer},
		{"garbage", one, Format{}, routerOffer},
		{"text/plain", list, Format{}, routerListOffer},
		{"application/json;as=Table" + meta, list, Format{Shape: Table}, ""},
		{"application/json;as=Table;g=meta.k8s.io;v=v1beta1", list, Format{Shape: Table, Beta: true}, ""},
		{"application/json;as=Table;g=meta.k8s.io;v=v2", list, Format{}, offered},
		{"application/json;as=Table", list, Format{}, offered},
		{"application/json;as=Table;v=v1", list, Format{}, offered},
		{"application/json;as=Nope" + meta, one, Format{}, offered},
		{"application/json;as=Nope" + meta + ",application/json", one, Format{}, ""},
		{"application/vnd.kubernetes.protobuf;as=Table" + meta, list, Format{}, offered},
		{"application/vnd.kubernetes.protobuf;as=Nope;g=x;v=v1,application/json", list, Format{}, ""},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", list, Format{Shape: Table}, ""},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata" + meta, one, Format{Media: Protobuf, Shape: Partial}, ""},
		{"application/json;as=PartialObjectMetadataList" + meta, list, Format{Shape: PartialList}, ""},
		{"application/json;as=PartialObjectMetadata" + meta, Endpoint{}, Format{}, offered},
		{"application/json", watch, Format{Stream: true}, ""},
		{"application/json;stream=watch", watch, Format{Stream: true}, ""},
		{"application/vnd.kubernetes.protobuf;stream=watch", watch, Format{Media: Protobuf, Stream: true}, ""},
		{"application/yaml", watch, Format{}, watchOffered},
		{"application/xml", watch, Format{}, routerListOffer},
		{"application/vnd.kubernetes.protobuf", custom, Format{}, offered},
		{"application/vnd.kubernetes.protobuf,application/json", custom, Format{}, ""},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata" + meta, custom, Format{Media: Protobuf, Shape: Partial}, ""},
		{"text/plain", custom, Format{}, offered},
	} {
		got, err := Negotiate(c.accept, c.e)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.err || err == nil && got != c.want {
			t.Errorf("%q: %+v %q", c.accept, got, text)
		}
	}
}

func TestNegotiateError(t *testing.T) {
	for accept, want := range map[string]Format{
		"": {}, "application/yaml": {Media: YAML}, "application/json;as=Table;g=meta.k8s.io;v=v1": {Pretty: true}, "text/plain": {Pretty: true},
		"application/vnd.kubernetes.protobuf": {Media: Protobuf},
	} {
		if got := NegotiateError(accept); got != want {
			t.Errorf("%q: %+v", accept, got)
		}
	}
}

func TestContentType(t *testing.T) {
	for f, want := range map[Format]string{
		{}: TypeJSON, {Shape: Table}: TypeJSON, {Media: YAML}: TypeYAML, {Media: Protobuf}: TypeProtobuf,
		{Media: Protobuf, Stream: true}: TypeProtobuf + ";stream=watch", {Stream: true}: TypeJSON,
	} {
		if got := f.ContentType(); got != want {
			t.Errorf("%+v: %s", f, got)
		}
	}
}

func TestPrettyFor(t *testing.T) {
	for _, c := range []struct {
		pretty []string
		agent  string
		want   bool
	}{{nil, "kubectl/v1.37", false}, {nil, "curl/8.0", true}, {nil, "Mozilla/5.0 (X11)", true}, {[]string{"1"}, "kubectl", true}, {[]string{"false"}, "curl/8.0", false}, {[]string{""}, "curl/8.0", false}} {
		if got := PrettyFor(c.pretty, c.agent); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestParseInclude(t *testing.T) {
	for _, s := range []string{"", "Metadata", "None", "Object"} {
		if _, err := ParseInclude(s); err != nil {
			t.Error(err)
		}
	}
	_, err := ParseInclude("none")
	if want := `Unable to convert to Table as requested: includeObject: Invalid value: "none": must be 'Metadata', 'Object', 'None', or empty`; err == nil || err.Error() != want {
		t.Error(err)
	}
}
