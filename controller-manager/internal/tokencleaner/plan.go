// Package tokencleaner deletes bootstrap tokens that have ended.
package tokencleaner

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/bootstraptoken"
)

// plan says how long a token is to be kept from now: 0 is to be deleted, less
// than 0 as long as it does not change.
func plan(s *corev1.Secret, now time.Time) time.Duration {
	left, bounded := bootstraptoken.Left(s, now)
	if !bounded {
		return -1
	}
	return left
}
