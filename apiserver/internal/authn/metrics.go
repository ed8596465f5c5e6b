package authn

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/apiserver/internal/request"
)

// Measure counts what an authenticator does. Without a registerer it measures
// nothing.
func Measure(a Authenticator, r prometheus.Registerer) Authenticator {
	if r == nil {
		return a
	}
	m := &measured{
		next: a,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authentication_attempts", Help: "Authentications by result: success, failure or error.",
		}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "authentication_duration_seconds", Help: "Seconds that authentication takes, by result.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"result"}),
		users: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authenticated_user_requests", Help: "Authenticated requests by kind of user.",
		}, []string{"username"}),
		expiry: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "apiserver_client_certificate_expiration_seconds", Help: "Seconds that the certificates of authenticated clients are still valid.",
			Buckets: []float64{0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000},
		}),
	}
	r.MustRegister(m.attempts, m.duration, m.users, m.expiry)
	return m
}

type measured struct {
	next     Authenticator
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	users    *prometheus.CounterVec
	expiry   prometheus.Histogram
}

func (m *measured) Authenticate(ctx context.Context, c *request.Credentials) (*Identity, error) {
	start := time.Now()
	id, err := m.next.Authenticate(ctx, c)
	result := "success"
	switch {
	case err != nil:
		result = "error"
	case id == nil:
		result = "failure"
	default:
		m.users.WithLabelValues(kindOfUser(id.User.Name)).Inc()
		if id.Method == "x509" && len(c.Certificates) > 0 {
			m.expiry.Observe(c.Certificates[0].NotAfter.Sub(start).Seconds())
		}
	}
	m.attempts.WithLabelValues(result).Inc()
	m.duration.WithLabelValues(result).Observe(time.Since(start).Seconds())
	return id, err
}

// kindOfUser keeps the number of label values small.
func kindOfUser(name string) string {
	switch name {
	case "admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default":
		return name
	}
	if strings.Contains(name, "@") {
		return "email_id"
	}
	return "other"
}
