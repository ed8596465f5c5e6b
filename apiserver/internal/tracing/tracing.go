// Package tracing tells a collector of OpenTelemetry what became of requests:
// one span for each that is sampled, from either front door.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/configfile"
	"xebec.dev/apiserver/internal/identity"
	"xebec.dev/apiserver/internal/request"
)

// configuration is the kind TracingConfiguration.
type configuration struct {
	metav1.TypeMeta `json:",inline"`
	Endpoint        *string `json:"endpoint,omitempty"`
	Rate            *int32  `json:"samplingRatePerMillion,omitempty"`
}

const (
	defaultEndpoint = "localhost:4317"
	million         = 1_000_000
)

func parse(content []byte) (endpoint string, rate int32, err error) {
	var c configuration
	if _, err := configfile.Decode(content, configfile.Group, "TracingConfiguration", []string{"v1", "v1beta1", "v1alpha1"}, &c); err != nil {
		return "", 0, err
	}
	endpoint = defaultEndpoint
	if c.Endpoint != nil {
		endpoint = *c.Endpoint
		if strings.Contains(endpoint, "://") && !strings.HasPrefix(endpoint, "dns://") && !strings.HasPrefix(endpoint, "unix://") || endpoint == "" {
			return "", 0, fmt.Errorf("tracing.endpoint: Invalid value: %q: give HOST:PORT of a collector that takes OTLP over gRPC", endpoint)
		}
	}
	if c.Rate != nil {
		if rate = *c.Rate; rate < 0 || rate > million {
			return "", 0, fmt.Errorf("tracing.samplingRatePerMillion: Invalid value: %d: sampling rate must be between 0 and one million inclusive", rate)
		}
	}
	return endpoint, rate, nil
}

// Tracer makes spans. A nil Tracer makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	spans    trace.Tracer
}

var traceContext = propagation.TraceContext{}

// New makes a tracer of a TracingConfiguration. It does not wait for the
// collector: spans that it does not take are lost.
func New(content []byte) (*Tracer, error) {
	endpoint, rate, err := parse(content)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracegrpc.New(context.Background(), otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	return newTracer(sdk.WithBatcher(exporter), rate), nil
}

func newTracer(out sdk.TracerProviderOption, rate int32) *Tracer {
	self := resource.NewSchemaless(attribute.String("service.name", "apiserver"), attribute.String("service.instance.id", identity.ID()))
	ratio := sdk.TraceIDRatioBased(float64(rate) / million)
	p := sdk.NewTracerProvider(out, sdk.WithResource(self), sdk.WithSampler(sdk.ParentBased(ratio)))
	return &Tracer{provider: p, spans: p.Tracer("xebec.dev/apiserver")}
}

// Close sends what is left.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// believed are the groups whose clients may have their requests traced.
var believed = []string{"system:masters", "system:monitoring"}

// Start begins the span of a request whose user is known. The span goes on
// from the client's when the client may say so; a stranger's is only linked
// to, or he could have everything sampled.
func (t *Tracer) Start(ctx context.Context, r *request.Request, c *request.Credentials) (_ context.Context, end func(code int)) {
	if t == nil {
		return ctx, func(int) {}
	}
	parent := trace.SpanContextFromContext(traceContext.Extract(context.Background(), carrier{c}))
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Received)}
	if parent.IsValid() {
		if slices.ContainsFunc(believed, func(g string) bool { return slices.Contains(r.User.Groups, g) }) {
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		} else {
			options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: parent}))
		}
	}
	ctx, span := t.spans.Start(ctx, Name(&r.Info), options...)
	if !span.IsRecording() {
		return ctx, func(int) { span.End() }
	}
	span.SetAttributes(attributes(r)...)
	return ctx, func(code int) {
		span.SetAttributes(attribute.Int("http.response.status_code", code))
		if code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(code))
		}
		span.End()
	}
}

func attributes(r *request.Request) []attribute.KeyValue {
	out := []attribute.KeyValue{
		attribute.String("audit-id", r.AuditID), attribute.String("http.request.method", method(r.Verb)), attribute.String("user_agent.original", r.UserAgent),
	}
	if !r.IsResource {
		return append(out, attribute.String("url.path", r.Path))
	}
	for k, v := range map[string]string{"verb": r.Verb, "group": r.Group, "version": r.Version, "resource": r.Resource, "subresource": r.Subresource, "namespace": r.Namespace, "name": r.Name} {
		if v != "" {
			out = append(out, attribute.String("k8s.request."+k, v))
		}
	}
	return out
}

// Name is that of a request's span: few for many objects.
func Name(i *request.Info) string {
	if !i.IsResource {
		return method(i.Verb) + " " + i.Path
	}
	var b strings.Builder
	prefix := i.Prefix
	if prefix == "" { // a call of gRPC
		if prefix = "apis"; i.Group == "" {
			prefix = "api"
		}
	}
	b.WriteString(method(i.Verb) + " /" + prefix)
	if i.Group != "" {
		b.WriteString("/" + i.Group)
	}
	b.WriteString("/" + i.Version)
	if i.Namespace != "" {
		b.WriteString("/namespaces/{:namespace}")
	}
	b.WriteString("/" + i.Resource)
	if i.Name != "" {
		b.WriteString("/{:name}")
	}
	if i.Subresource != "" {
		b.WriteString("/" + i.Subresource)
	}
	return b.String()
}

// method is HTTP's word for a verb.
func method(verb string) string {
	switch verb {
	case "get", "list", "watch", "head", "proxy":
		return http.MethodGet
	case "create":
		return http.MethodPost
	case "update":
		return http.MethodPut
	case "delete", "deletecollection":
		return http.MethodDelete
	}
	return strings.ToUpper(verb)
}

// carrier reads a request's headers.
type carrier struct{ c *request.Credentials }

func (h carrier) Get(key string) string {
	if v := h.c.Header(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (carrier) Set(string, string) { panic(errors.New("tracing: a request's headers are read only")) }
func (carrier) Keys() []string     { return nil }

// Inject passes the span of a context on to another server.
func Inject(ctx context.Context, h http.Header) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		traceContext.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
