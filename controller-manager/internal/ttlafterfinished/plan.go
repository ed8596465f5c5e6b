// Package ttlafterfinished deletes jobs some time after they have finished.
package ttlafterfinished

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// plan says how long a job is to be kept from now: 0 is to be deleted, less
// than 0 as long as it does not change.
func plan(j *batchv1.Job, now time.Time) time.Duration {
	if j.Spec.TTLSecondsAfterFinished == nil || j.DeletionTimestamp != nil {
		return -1
	}
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			end := c.LastTransitionTime.Add(time.Duration(*j.Spec.TTLSecondsAfterFinished) * time.Second)
			return max(end.Sub(now), 0)
		}
	}
	return -1
}
