package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// verdict is what a job's podFailurePolicy says about a failed pod.
type verdict struct {
	action batchv1.PodFailurePolicyAction // empty when no rule matches
	// message of FailJob.
	message string
}

// counts reports whether the failure counts towards limits.
func (v verdict) counts() bool { return v.action != batchv1.PodFailurePolicyActionIgnore }

// judge finds the first rule that matches a failed pod.
func judge(policy *batchv1.PodFailurePolicy, p *corev1.Pod) verdict {
	if policy == nil {
		return verdict{}
	}
	for i := range policy.Rules {
		r := &policy.Rules[i]
		var what string
		switch {
		case r.OnExitCodes != nil:
			what = matchExitCode(r.OnExitCodes, p)
		default:
			what = matchCondition(r.OnPodConditions, p)
		}
		if what == "" {
			continue
		}
		v := verdict{action: r.Action}
		if r.Action == batchv1.PodFailurePolicyActionFailJob {
			v.message = fmt.Sprintf("%s matching %v rule at index %d", what, r.Action, i)
		}
		return v
	}
	return verdict{}
}

func matchExitCode(r *batchv1.PodFailurePolicyOnExitCodesRequirement, p *corev1.Pod) string {
	for _, l := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range l {
			t := l[i].State.Terminated
			if t == nil || t.ExitCode == 0 || r.ContainerName != nil && *r.ContainerName != l[i].Name {
				continue
			}
			in := slices.Contains(r.Values, t.ExitCode)
			if in == (r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v", l[i].Name, p.Namespace, p.Name, t.ExitCode)
			}
		}
	}
	return ""
}

func matchCondition(patterns []batchv1.PodFailurePolicyOnPodConditionsPattern, p *corev1.Pod) string {
	for _, want := range patterns {
		for _, c := range p.Status.Conditions {
			if c.Type == want.Type && c.Status == want.Status {
				return fmt.Sprintf("Pod %s/%s has condition %v", p.Namespace, p.Name, c.Type)
			}
		}
	}
	return ""
}

// succeeds finds the first rule of a success policy that is met.
func succeeds(policy *batchv1.SuccessPolicy, completions int, done indexSet) (string, bool) {
	if policy == nil {
		return "", false
	}
	for i := range policy.Rules {
		r := &policy.Rules[i]
		met := len(done)
		enough := 0
		if r.SucceededIndexes != nil {
			wanted := parseIndexes(*r.SucceededIndexes, completions)
			met, enough = 0, len(wanted)
			for n := range wanted {
				if done[n] {
					met++
				}
			}
		}
		if r.SucceededCount != nil {
			enough = int(*r.SucceededCount)
		}
		if met >= enough {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}
