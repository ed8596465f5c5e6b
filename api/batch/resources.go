// Package batch has the resources of the API group batch: names, defaults, validation,
// columns and update rules.
package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "batch", Version: "v1", Kind: "CronJob",
			Plural: "cronjobs", Singular: "cronjob",
			ShortNames:    []string{"cj"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(batchv1.CronJob) },
			NewList:       func() runtime.Object { return new(batchv1.CronJobList) },
			StoragePrefix: "cronjobs",
			Columns:       cronJobColumns(),
			Row:           scheme.Rows(cronJobRow),
			Strategy:      cronJobHooks().Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: cronJobStatusHooks().Pointer()},
			},
		},
		{
			Group: "batch", Version: "v1", Kind: "Job",
			Plural: "jobs", Singular: "job",
			UnknownField:  "field label %q not supported for Job",
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(batchv1.Job) },
			NewList:       func() runtime.Object { return new(batchv1.JobList) },
			StoragePrefix: "jobs",
			Fields:        []scheme.SelectableField{{Label: "status.successful", Path: []string{"status.succeeded"}, IfEmpty: "0"}},
			Columns:       jobColumns(),
			Row:           scheme.Rows(jobRow),
			Strategy:      jobHooks().Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: jobStatusHooks().Pointer()},
			},
		},
	}
}
