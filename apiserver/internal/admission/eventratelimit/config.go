package eventratelimit

import (
	"errors"
	"fmt"

	"xebec.dev/apiserver/internal/configfile"
)

// LimitType says what shares a limit.
type LimitType string

// The limit types.
const (
	Server          LimitType = "Server"
	Namespace       LimitType = "Namespace"
	User            LimitType = "User"
	SourceAndObject LimitType = "SourceAndObject"
)

// Limit is one token bucket per key.
type Limit struct {
	Type LimitType `json:"type"`
	// QPS is how many events a second fill the bucket, Burst its size.
	QPS   int32 `json:"qps"`
	Burst int32 `json:"burst"`
	// CacheSize is how many keys are remembered.
	CacheSize int32 `json:"cacheSize,omitempty"`
}

type configuration struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Limits     []Limit `json:"limits"`
}

// defaultCacheSize is that of Kubernetes.
const defaultCacheSize = 4096

// Configuration reads the plugin's limits, of which it needs some.
func Configuration(content []byte) ([]Limit, error) {
	if len(content) == 0 {
		return nil, errors.New("needs a configuration with limits")
	}
	var c configuration
	if _, err := configfile.Decode(content, "eventratelimit.admission.k8s.io", "Configuration", []string{"v1alpha1"}, &c); err != nil {
		return nil, err
	}
	if len(c.Limits) == 0 {
		return nil, errors.New("limits: must not be empty")
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		switch l.Type {
		case Server, Namespace, User, SourceAndObject:
		default:
			return nil, fmt.Errorf("limits[%d].type: %q is none of Server, Namespace, User, SourceAndObject", i, l.Type)
		}
		if l.QPS <= 0 || l.Burst <= 0 || l.CacheSize < 0 {
			return nil, fmt.Errorf("limits[%d]: qps and burst must be positive, cacheSize not negative", i)
		}
		if l.CacheSize == 0 {
			l.CacheSize = defaultCacheSize
		}
	}
	return c.Limits, nil
}
