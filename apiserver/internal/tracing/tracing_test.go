package tracing

import (
	"context"
	"net/http"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"xebec.dev/apiserver/internal/request"
)

const client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func credentials(traceparent string) *request.Credentials {
	h := http.Header{}
	if traceparent != "" {
		h.Set("Traceparent", traceparent)
	}
	return &request.Credentials{Header: func(name string) []string { return h.Values(name) }}
}

// Whose trace goes on, and whose is only linked to.
func TestParents(t *testing.T) {
	for name, c := range map[string]struct {
		group, traceparent string
		rate               int32
		spans              int
		goesOn             bool
	}{
		"a master's":               {"system:masters", client, 0, 1, true},
		"a monitor's":              {"system:monitoring", client, 0, 1, true},
		"a master's, not sampled":  {"system:masters", strings.TrimSuffix(client, "1") + "0", million, 0, false},
		"a user's":                 {"dev", client, 0, 0, false},
		"a user's, all sampled":    {"dev", client, million, 1, false},
		"nobody's":                 {"system:masters", "", 0, 0, false},
		"nobody's, all sampled":    {"system:masters", "", million, 1, false},
		"something else altogeher": {"system:masters", "00-x", million, 1, false},
	} {
		spans := tracetest.NewInMemoryExporter()
		tracer := newTracer(sdk.WithSyncer(spans), c.rate)
		r := &request.Request{Info: request.Info{IsResource: true, Verb: "get", Version: "v1", Namespace: "ns", Resource: "pods", Name: "p"}, User: request.User{Groups: []string{c.group}}}
		ctx, end := tracer.Start(context.Background(), r, credentials(c.traceparent))
		h := http.Header{}
		Inject(ctx, h)
		end(200)
		got := spans.GetSpans()
		if len(got) != c.spans {
			t.Errorf("%s: %d spans", name, len(got))
			continue
		}
		if c.spans == 0 {
			continue
		}
		s := got[0]
		if s.Name != "GET /api/v1/namespaces/{:namespace}/pods/{:name}" || !strings.Contains(h.Get("Traceparent"), s.SpanContext.SpanID().String()) {
			t.Errorf("%s: %s, passed on as %q", name, s.Name, h.Get("Traceparent"))
		}
		same := s.SpanContext.TraceID().String() == "0af7651916cd43dd8448eb211c80319c"
		if linked := len(s.Links) == 1; same != c.goesOn || linked != (!c.goesOn && c.traceparent == client) {
			t.Errorf("%s: same trace %v, linked %v", name, same, linked)
		}
	}
	// Without a configuration there is nothing to do.
	var none *Tracer
	_, end := none.Start(context.Background(), &request.Request{}, credentials(client))
	end(200)
	if err := none.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n"
	if e, rate, err := parse([]byte(head)); err != nil || e != "localhost:4317" || rate != 0 {
		t.Errorf("%s %d %v", e, rate, err)
	}
	if e, rate, err := parse([]byte(head + "endpoint: a:1\nsamplingRatePerMillion: 7\n")); err != nil || e != "a:1" || rate != 7 {
		t.Errorf("%s %d %v", e, rate, err)
	}
	for _, bad := range []string{"", "endpoint: http://a", "samplingRatePerMillion: 1000001", "samplingRatePerMillion: -1", "other: 1", "endpoint: ''"} {
		text := head + bad + "\n"
		if bad == "" {
			text = strings.Replace(head, "Tracing", "Other", 1)
		}
		if _, _, err := parse([]byte(text)); err == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}
