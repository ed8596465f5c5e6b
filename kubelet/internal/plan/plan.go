// Package plan decides what to do about one pod: from what is wanted and what
// the runtime has, the next actions. It is pure; time is a value. Plans print
// as stable text, which tests and debug logs share.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Input of a plan.
type Input struct {
	Pod      *corev1.Pod
	Observed *runtime.Pod // may be nil
	// Unhealthy are the running containers whose liveness or startup probe
	// failed, by id, and which probe it was.
	Unhealthy map[string]string
	// Unstarted are the running containers whose startup probe or postStart
	// hook is not through, by id.
	Unstarted map[string]bool
	Backoff   map[string]Backoff
	Limits    Limits
	// Resources that each container should have, by name; those not named
	// are left as they are.
	Resources map[string]*runtimeapi.LinuxContainerResources
	// Again are containers that start again whatever they ended with: their
	// resources had them end.
	Again map[string]bool
	// Held are containers that are not started before a time: they could not be
	// a moment ago.
	Held map[string]time.Time
	// Grows and Shrinks: the pod's own group gets more, or less, of something.
	Grows, Shrinks bool
	Now            time.Time
}

// Op is what kind of action it is.
type Op string

// The actions.
const (
	// StopSandbox ends everything in a sandbox, and the sandbox.
	StopSandbox Op = "stop sandbox"
	RunSandbox  Op = "run sandbox"
	Kill        Op = "kill"
	Start       Op = "start"
	// Resize changes a running container's resources.
	Resize Op = "resize"
	// GrowPod and ShrinkPod change those of the pod's own group: more before
	// its containers, less after them.
	GrowPod   Op = "grow pod"
	ShrinkPod Op = "shrink pod"
	// Remove deletes what has ended long ago.
	Remove        Op = "remove"
	RemoveSandbox Op = "remove sandbox"
	// Finish: the pod's work is done, or can't be done.
	Finish Op = "finish"
)

// Action is one thing to do.
type Action struct {
	Op Op
	// Name of the container, ID of the container or sandbox.
	Name, ID string
	Attempt  uint32
	// Kind of the container to start.
	Kind Kind
	// Why a container is killed: the event's message.
	Why string
	// Probe is the one that failed: it may have a grace period of its own.
	Probe string
	// Again: it is ended for its resources only.
	Again bool
}

// Kind of a container.
type Kind string

// The kinds.
const (
	Regular   Kind = "container"
	Init      Kind = "init"
	Sidecar   Kind = "sidecar"
	Ephemeral Kind = "ephemeral"
)

// Wait is a container that starts again later.
type Wait struct {
	Name  string
	ID    string // of the run that ended
	Until time.Time
	Delay time.Duration
}

// Plan is what to do now, in order, and what to wait for.
type Plan struct {
	Actions []Action
	Waits   []Wait
	// Held is when the first container that is held back may be started.
	Held time.Time
	// Backoff after these actions.
	Backoff map[string]Backoff
}

// Wake is when to plan again, zero if nothing but news can change the plan.
func (p *Plan) Wake() time.Time {
	first := p.Held
	for _, w := range p.Waits {
		if first.IsZero() || w.Until.Before(first) {
			first = w.Until
		}
	}
	return first
}

// String is the plan as text, a line for each action.
func (p *Plan) String() string {
	var b strings.Builder
	for _, a := range p.Actions {
		b.WriteString(string(a.Op))
		if a.Name != "" {
			fmt.Fprintf(&b, " %s", a.Name)
		}
		if a.ID != "" {
			fmt.Fprintf(&b, " %s", a.ID)
		}
		switch a.Op {
		case Start:
			fmt.Fprintf(&b, " %s attempt %d", a.Kind, a.Attempt)
		case RunSandbox:
			fmt.Fprintf(&b, " attempt %d", a.Attempt)
		}
		if a.Why != "" {
			fmt.Fprintf(&b, ": %s", a.Why)
		}
		b.WriteByte('\n')
	}
	for _, w := range p.Waits {
		fmt.Fprintf(&b, "wait %s %s\n", w.Name, w.Delay)
	}
	if !p.Held.IsZero() {
		b.WriteString("held back\n")
	}
	return b.String()
}

// planner is one planning.
type planner struct {
	in      Input
	sandbox *runtime.Sandbox
	out     *Plan
}

// Make plans.
func Make(in Input) *Plan {
	p := &planner{in: in, out: &Plan{Backoff: map[string]Backoff{}}, sandbox: in.Observed.Sandbox()}
	for name, b := range in.Backoff {
		p.out.Backoff[name] = b
	}
	p.clean()
	if p.finished() {
		p.add(Action{Op: Finish})
		return p.out
	}
	if !p.sandboxHolds() {
		return p.out
	}
	p.ephemeral()
	if p.initialize() {
		p.regular()
	}
	p.resizePod()
	return p.out
}

func (p *planner) add(a Action) { p.out.Actions = append(p.out.Actions, a) }

// current is the newest run of a container in the pod's sandbox.
func (p *planner) current(name string) *runtime.Container {
	if p.in.Observed == nil || p.sandbox == nil {
		return nil
	}
	for _, c := range p.in.Observed.Containers {
		if c.Name == name && c.SandboxID == p.sandbox.ID {
			return c
		}
	}
	return nil
}

// finished reports whether nothing of the pod will run again.
func (p *planner) finished() bool {
	if p.in.Observed == nil || len(p.in.Observed.Containers) == 0 {
		return false
	}
	for i := range p.in.Pod.Spec.InitContainers {
		c := &p.in.Pod.Spec.InitContainers[i]
		run := p.in.Observed.Container(c.Name)
		if !IsSidecar(c) && run != nil && run.State == runtime.Exited && run.ExitCode != 0 && !p.restarts(c, run) && !p.ran() {
			return true
		}
	}
	for i := range p.in.Pod.Spec.Containers {
		c := &p.in.Pod.Spec.Containers[i]
		run := p.in.Observed.Container(c.Name)
		if run == nil || run.State != runtime.Exited || p.restarts(c, run) {
			return false
		}
	}
	return true
}

// ran reports whether a regular container was started: the pod had been
// initialized by then.
func (p *planner) ran() bool {
	return slices.ContainsFunc(p.in.Pod.Spec.Containers, func(c corev1.Container) bool { return p.in.Observed.Container(c.Name) != nil })
}

// restarts reports whether a container that ended is started again.
func (p *planner) restarts(c *corev1.Container, run *runtime.Container) bool {
	return p.in.Again[c.Name] || Restarts(p.in.Pod, c, run.ExitCode)
}

// Restarts reports whether a container is started again after it ended with a
// code: its own rules and policy go before the pod's policy.
func Restarts(pod *corev1.Pod, c *corev1.Container, code int32) bool {
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		in := slices.Contains(r.ExitCodes.Values, code)
		if in == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
			return r.Action == corev1.ContainerRestartRuleActionRestart || r.Action == corev1.ContainerRestartRuleActionRestartAllContainers
		}
	}
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// IsSidecar reports whether an init container keeps running beside the rest.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// sandboxHolds reports whether the pod has a good sandbox; else it plans one.
func (p *planner) sandboxHolds() bool {
	s := p.sandbox
	if s != nil && s.Ready && s.HostNetwork == p.in.Pod.Spec.HostNetwork && (s.HostNetwork || len(s.IPs) > 0) && p.onlyOneReady() {
		return true
	}
	attempt := uint32(0)
	if s != nil {
		attempt = s.Attempt + 1
		for _, old := range p.in.Observed.Sandboxes {
			if old.Ready || p.runningIn(old.ID) {
				p.add(Action{Op: StopSandbox, ID: old.ID})
			}
		}
	}
	if attempt > 0 && !p.wantsAgain() {
		p.add(Action{Op: Finish})
		return false
	}
	p.add(Action{Op: RunSandbox, Attempt: attempt})
	return false
}

func (p *planner) onlyOneReady() bool {
	n := 0
	for _, s := range p.in.Observed.Sandboxes {
		if s.Ready {
			n++
		}
	}
	return n == 1
}

func (p *planner) runningIn(id string) bool {
	return slices.ContainsFunc(p.in.Observed.Containers, func(c *runtime.Container) bool {
		return c.SandboxID == id && (c.State == runtime.Running || c.State == runtime.Unknown)
	})
}

// wantsAgain reports whether anything would run in another sandbox: a pod
// that is never restarted and lost its first one is over.
func (p *planner) wantsAgain() bool {
	if p.in.Pod.Spec.RestartPolicy != corev1.RestartPolicyNever || len(p.in.Observed.Containers) == 0 {
		return true
	}
	return slices.ContainsFunc(p.in.Pod.Spec.Containers, func(c corev1.Container) bool {
		run := p.in.Observed.Container(c.Name)
		return c.RestartPolicy != nil && (run == nil || p.restarts(&c, run))
	})
}

// ephemeral containers start once.
func (p *planner) ephemeral() {
	for i := range p.in.Pod.Spec.EphemeralContainers {
		c := &p.in.Pod.Spec.EphemeralContainers[i]
		if p.in.Observed.Container(c.Name) == nil && !p.held(c.Name) {
			p.add(Action{Op: Start, Name: c.Name, Kind: Ephemeral})
		}
	}
}

// initialize brings the init containers on their way, and reports whether the
// regular ones may run.
func (p *planner) initialize() bool {
	done := p.initialized()
	for i := range p.in.Pod.Spec.InitContainers {
		c := &p.in.Pod.Spec.InitContainers[i]
		run := p.current(c.Name)
		switch {
		case IsSidecar(c):
			if !p.sidecar(c, run) && !done {
				return false
			}
		case done || run != nil && run.State == runtime.Exited && run.ExitCode == 0:
		case run != nil && run.State == runtime.Running:
			p.resize(c, run)
			return false
		default:
			p.startOrWait(c, Init, run)
			return false
		}
	}
	return true
}

// initialized reports whether a regular container was made in this sandbox.
func (p *planner) initialized() bool {
	return slices.ContainsFunc(p.in.Pod.Spec.Containers, func(c corev1.Container) bool { return p.current(c.Name) != nil })
}

// sidecar keeps one running and reports whether it has started.
func (p *planner) sidecar(c *corev1.Container, run *runtime.Container) bool {
	if run == nil || run.State != runtime.Running {
		p.startOrWait(c, Sidecar, run)
		return false
	}
	if p.killed(c, run, true) {
		return false
	}
	return !p.in.Unstarted[run.ID]
}

func (p *planner) regular() {
	for i := range p.in.Pod.Spec.Containers {
		c := &p.in.Pod.Spec.Containers[i]
		run := p.current(c.Name)
		switch {
		case run == nil:
			p.startOrWait(c, Regular, nil)
		case run.State == runtime.Running:
			p.killed(c, run, p.mayRestart(c))
		case run.State == runtime.Exited && !p.restarts(c, run):
		default:
			p.startOrWait(c, Regular, run)
		}
	}
}

// mayRestart reports whether a container that is ended starts again: its own
// policy goes before the pod's.
func (p *planner) mayRestart(c *corev1.Container) bool {
	if c.RestartPolicy != nil {
		return *c.RestartPolicy != corev1.ContainerRestartPolicyNever
	}
	return p.in.Pod.Spec.RestartPolicy != corev1.RestartPolicyNever
}

// killed plans the end of a running container that must not go on; it starts
// again once it has ended. One whose resources differ is resized.
func (p *planner) killed(c *corev1.Container, run *runtime.Container, restart bool) bool {
	a := Action{Op: Kill, Name: c.Name, ID: run.ID}
	probe := p.in.Unhealthy[run.ID]
	switch {
	case run.Hash != "" && run.Hash != runtime.ContainerHash(c):
		a.Why = fmt.Sprintf("Container %s definition changed", c.Name)
	case probe != "":
		a.Why, a.Probe = fmt.Sprintf("Container %s failed %s probe", c.Name, probe), probe
	default:
		p.resize(c, run)
		return false
	}
	if restart {
		a.Why += ", will be restarted"
	}
	p.add(a)
	return true
}

// held reports whether a container is not to be started yet, and notes when it
// is.
func (p *planner) held(name string) bool {
	until := p.in.Held[name]
	if !until.After(p.in.Now) {
		return false
	}
	if p.out.Held.IsZero() || until.Before(p.out.Held) {
		p.out.Held = until
	}
	return true
}

// startOrWait starts a container, or waits its backoff out.
func (p *planner) startOrWait(c *corev1.Container, kind Kind, run *runtime.Container) {
	if p.held(c.Name) {
		return
	}
	a := Action{Op: Start, Name: c.Name, Kind: kind}
	last := p.in.Observed.Container(c.Name)
	if last != nil {
		a.Attempt = uint32(last.RestartCount) + 1
	}
	if run != nil && run.State == runtime.Unknown {
		p.add(Action{Op: Kill, Name: c.Name, ID: run.ID, Why: "Container is in unknown state, try killing it before restart"})
	}
	if last != nil && last.State == runtime.Exited {
		if w, wait := p.backoff(c, last); wait {
			p.out.Waits = append(p.out.Waits, w)
			return
		}
	}
	p.add(a)
}
