package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

var update = flag.Bool("update", false, "write what plans are now")

var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Golden files hold cases: lines that say what is wanted and what there is, a
// line ----, and the plan. A blank line ends a case.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for i, c := range strings.Split(strings.TrimSpace(string(raw)), "\n\n") {
			if i > 0 {
				out.WriteString("\n")
			}
			given, _, ok := strings.Cut(c+"\n", "----\n")
			if !ok {
				t.Fatalf("%s: a case without ----:\n%s", path, c)
			}
			in, err := parse(given)
			if err != nil {
				t.Fatalf("%s: %v in\n%s", path, err, given)
			}
			out.WriteString(given + "----\n" + show(Make(in)))
		}
		if *update {
			if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, want := out.String(), string(raw); got != want {
			t.Errorf("%s differs (-update writes it):\n%s", path, diff(want, got))
		}
	}
}

func show(p *Plan) string {
	text := p.String()
	if text == "" {
		text = "nothing\n"
	}
	for _, c := range []string{"a", "b", "c"} {
		if b, ok := p.Backoff[c]; ok {
			text += fmt.Sprintf("backoff %s %s\n", c, b.Delay)
		}
	}
	return text
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: want %q, got %q\n%s", i+1, w[i], g[i], strings.Join(g[max(0, i-12):i+1], "\n"))
		}
	}
	return "one is longer"
}

// parse reads a case. Times are "AGO" durations.
func parse(text string) (Input, error) {
	in := Input{Pod: &corev1.Pod{}, Observed: &runtime.Pod{}, Unhealthy: map[string]string{}, Unstarted: map[string]bool{}, Backoff: map[string]Backoff{},
		Resources: map[string]*runtimeapi.LinuxContainerResources{}, Now: clock}
	in.Pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if err := fact(&in, f); err != nil {
			return in, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
	}
	return in, nil
}

func fact(in *Input, f []string) error {
	options := map[string]string{}
	for _, o := range f[1:] {
		k, v, _ := strings.Cut(o, "=")
		options[k] = v
	}
	spec := &in.Pod.Spec
	switch f[0] {
	case "policy":
		spec.RestartPolicy = corev1.RestartPolicy(f[1])
	case "host-network":
		spec.HostNetwork = true
	case "container", "init", "sidecar", "ephemeral":
		c := corev1.Container{Name: f[1], Image: "image"}
		if image := options["image"]; image != "" {
			c.Image = image
		}
		if p := options["policy"]; p != "" {
			policy := corev1.ContainerRestartPolicy(p)
			c.RestartPolicy = &policy
		}
		if code := options["restart-on"]; code != "" {
			n, err := strconv.Atoi(code)
			if err != nil {
				return err
			}
			c.RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart,
				ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{int32(n)}}}}
		}
		if options["resize"] == "restart" {
			c.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer}}
		}
		if m := options["memory"]; m != "" {
			n, err := strconv.ParseInt(m, 10, 64)
			if err != nil {
				return err
			}
			in.Resources[c.Name] = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: n}
		}
		always := corev1.ContainerRestartPolicyAlways
		switch f[0] {
		case "container":
			spec.Containers = append(spec.Containers, c)
		case "sidecar":
			c.RestartPolicy = &always
			fallthrough
		case "init":
			spec.InitContainers = append(spec.InitContainers, c)
		case "ephemeral":
			spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name}})
		}
	case "sandbox":
		s := &runtime.Sandbox{ID: f[1], IPs: []string{"10.0.0.1"}}
		_, s.HostNetwork = options["host"]
		if _, ok := options["no-ip"]; ok {
			s.IPs = nil
		}
		_, dead := options["dead"]
		s.Ready = !dead
		n, _ := strconv.Atoi(options["attempt"]) // none is 0
		s.Attempt = uint32(n)
		in.Observed.Sandboxes = append(in.Observed.Sandboxes, s)
	case "run":
		return observed(in, f, options)
	case "unhealthy":
		in.Unhealthy[f[1]] = f[2]
	case "unstarted":
		in.Unstarted[f[1]] = true
	case "held":
		d, err := time.ParseDuration(f[2])
		if err != nil {
			return err
		}
		if in.Held == nil {
			in.Held = map[string]time.Time{}
		}
		in.Held[f[1]] = clock.Add(d)
	case "again":
		in.Again = map[string]bool{f[1]: true}
	case "pod":
		_, in.Grows = options["grows"]
		_, in.Shrinks = options["shrinks"]
	case "backoff":
		d, err := time.ParseDuration(f[2])
		if err != nil {
			return err
		}
		ago, err := time.ParseDuration(options["ago"])
		if err != nil {
			return err
		}
		in.Backoff[f[1]] = Backoff{Hash: runtime.ContainerHash(&corev1.Container{Name: f[1], Image: "image"}), Delay: d, Updated: clock.Add(-ago)}
	default:
		return fmt.Errorf("is no fact")
	}
	return nil
}

// observed is a line "run NAME ID running|created|unknown|exited=CODE …".
func observed(in *Input, f []string, options map[string]string) error {
	c := &runtime.Container{Name: f[1], ID: f[2], SandboxID: "s1", Hash: runtime.ContainerHash(&corev1.Container{Name: f[1], Image: "image"})}
	if s := options["sandbox"]; s != "" {
		c.SandboxID = s
	}
	state, code, _ := strings.Cut(f[3], "=")
	c.State = runtime.State(state)
	if code != "" {
		n, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		c.ExitCode = int32(n)
		c.Finished = clock.Add(-time.Hour)
		if ago := options["ago"]; ago != "" {
			d, err := time.ParseDuration(ago)
			if err != nil {
				return err
			}
			c.Finished = clock.Add(-d)
		}
	}
	if n := options["restarts"]; n != "" {
		count, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		c.RestartCount = int32(count)
	}
	if m := options["memory"]; m != "" {
		n, err := strconv.ParseInt(m, 10, 64)
		if err != nil {
			return err
		}
		c.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: n}
	}
	in.Observed.Containers = append(in.Observed.Containers, c)
	return nil
}

// A container that crashes again and again waits 10, 20, 40… seconds, and
// from the start once it ran for long.
func TestBackoffGrows(t *testing.T) {
	b, now := Backoff{}, clock
	var got []time.Duration
	for range 7 {
		b = b.Next("h", DefaultLimits, now)
		got = append(got, b.Delay)
		now = now.Add(b.Delay + time.Second)
	}
	want := []time.Duration{10, 20, 40, 80, 160, 300, 300}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Fatalf("pauses %v", got)
		}
	}
	if b = b.Next("h", DefaultLimits, now.Add(11*time.Minute)); b.Delay != 10*time.Second {
		t.Errorf("after it ran for long the pause is %v", b.Delay)
	}
	if b = b.Next("other", DefaultLimits, now); b.Delay != 10*time.Second {
		t.Errorf("another container waits %v", b.Delay)
	}
}

// A static pod's container begins at a second, and no pod waits longer than the
// node's configuration says.
func TestStaticBackoff(t *testing.T) {
	short := Limits{First: 5 * time.Second, Max: 5 * time.Second}
	for _, c := range []struct{ got, want Limits }{
		{DefaultLimits.For(false), DefaultLimits}, {DefaultLimits.For(true), Limits{time.Second, time.Minute}},
		{short.For(false), short}, {short.For(true), Limits{time.Second, 5 * time.Second}},
	} {
		if c.got != c.want {
			t.Errorf("limits %v, want %v", c.got, c.want)
		}
	}
}

// The plan comes to rest: what it starts is there the next time.
func TestConverges(t *testing.T) {
	in, err := parse("init i\nsidecar s\ncontainer a\ncontainer b\nephemeral e")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		p := Make(in)
		if len(p.Actions) == 0 && len(p.Waits) == 0 {
			if n := len(in.Observed.Containers); n != 5 {
				t.Fatalf("at rest with %d containers", n)
			}
			return
		}
		for _, a := range p.Actions {
			switch a.Op {
			case RunSandbox:
				in.Observed.Sandboxes = append([]*runtime.Sandbox{{ID: "s1", Ready: true, IPs: []string{"10.0.0.1"}, Attempt: a.Attempt}}, in.Observed.Sandboxes...)
			case Start:
				state := runtime.Running
				if a.Kind == Init {
					state = runtime.Exited
				}
				c := &runtime.Container{Name: a.Name, ID: fmt.Sprint(a.Name, round), SandboxID: "s1", State: state, Finished: clock.Add(-time.Hour)}
				in.Observed.Containers = append([]*runtime.Container{c}, in.Observed.Containers...)
			default:
				t.Fatalf("unexpected %v", a)
			}
		}
	}
	t.Fatal("never at rest")
}
