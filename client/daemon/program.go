// Package daemon is the shell around a component: flags, logs, signals, the
// HTTPS endpoint with health, metrics and profiles, and the life of its
// goroutines. What is the component's own comes in as a Program.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"xebec.dev/client/resident"
)

// GitVersion and GitCommit are set by the linker.
var (
	GitVersion = "v1.37.2+xebec.1"
	GitCommit  = "unknown"
)

// Program is what a component brings.
type Program struct {
	// Name as in "kube-scheduler".
	Name string
	// About is a sentence for --help.
	About string
	// Defaults of the common flags.
	Defaults Defaults
	// AddFlags adds the component's own flags.
	AddFlags func(fs *pflag.FlagSet)
	// Gates are the feature gates the component knows.
	Gates []Gate
	// Ignored are flags that are accepted for compatibility and do nothing,
	// with the reason.
	Ignored map[string]string
	// Run does the work until ctx ends. Its error makes the exit code 1.
	Run func(ctx context.Context, p *Process) error
}

// Process is the running program.
type Process struct {
	*Program
	Flags    *Flags
	Gates    *Gates
	Log      *zap.Logger
	Registry *prometheus.Registry
	Health   *Health
	Configz  *Configz
	flags    *pflag.FlagSet
	started  time.Time
	stderr   io.Writer
}

// Main runs a program and gives its exit code: 0 after SIGTERM or SIGINT, 1
// after an error. A second signal ends the process at once.
func Main(p Program) int {
	return run(context.Background(), &p, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, p *Program, args []string, stdout, stderr io.Writer) int {
	proc := newProcess(p)
	code, done := proc.parse(args, stdout, stderr)
	if done {
		return code
	}
	proc.stderr = stderr
	if err := proc.SetLog("", 0); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	defer func() { _ = proc.Log.Sync() }() // standard error can't always be synced
	proc.warnings()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal does what it does by default
	go proc.settle(ctx)
	err := p.Run(ctx, proc)
	_ = Notify("STOPPING=1") // nobody may be listening
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		proc.Log.Error(p.Name+" stopped", zap.Error(err))
		return 1
	}
	return 0
}

// aftermath is how long a daemon's first connections, lists and decisions take
// where the server is there; later is not too late, and sooner does no harm.
const aftermath = 10 * time.Second

// settle gives back what only the start needed.
func (p *Process) settle(ctx context.Context) {
	if err := resident.Settle(ctx, aftermath); err != nil {
		p.Log.Info("memory used by the start only is kept", zap.Error(err))
	}
}

func newProcess(p *Program) *Process {
	proc := &Process{
		Program: p, Flags: &Flags{}, Gates: newGates(p.Gates), Registry: prometheus.NewRegistry(),
		Health: NewHealth(), Configz: &Configz{}, flags: pflag.NewFlagSet(p.Name, pflag.ContinueOnError), started: time.Now(),
	}
	proc.Registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(), proc.Health,
	)
	proc.Flags.add(proc.flags, p)
	proc.Gates.add(proc.flags)
	if p.AddFlags != nil {
		p.AddFlags(proc.flags)
	}
	for name, reason := range p.Ignored {
		if proc.flags.Lookup(name) == nil {
			proc.flags.Var(&ignored{}, name, "Accepted and without effect: "+reason)
			proc.flags.Lookup(name).NoOptDefVal = "true"
		}
	}
	return proc
}

// ignored takes any value.
type ignored struct{ value string }

func (i *ignored) String() string     { return i.value }
func (i *ignored) Set(s string) error { i.value = s; return nil }
func (i *ignored) Type() string       { return "string" }

func buildInfo() prometheus.Collector {
	goVersion := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubernetes_build_info",
		Help: "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
		ConstLabels: prometheus.Labels{
			"git_version": GitVersion, "git_commit": GitCommit, "go_version": goVersion, "major": "1", "minor": "37",
		},
	}, func() float64 { return 1 })
}

// parse handles the arguments; done means that there is nothing to run.
func (p *Process) parse(args []string, stdout, stderr io.Writer) (code int, done bool) {
	fs := p.flags
	fs.SortFlags = true
	fs.SetOutput(io.Discard)
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	fs.Usage = func() {}
	switch err := fs.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprintf(stdout, "%s\n\nUsage:\n  %s [flags]\n\nFlags:\n\n%s", p.About, p.Name, fs.FlagUsages())
		return 0, true
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v%s\n", p.Name, err, suggest(fs, err))
		return 1, true
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "%s: takes flags only, got %q\n", p.Name, fs.Args())
		return 1, true
	}
	switch p.Flags.Version {
	case "", "false":
		return 0, false
	case "raw":
		fmt.Fprintf(stdout, "gitVersion: %q, gitCommit: %q\n", GitVersion, GitCommit)
	default:
		fmt.Fprintf(stdout, "Kubernetes %s\n", GitVersion)
	}
	return 0, true
}

// warnings says once what was given and has no effect.
func (p *Process) warnings() {
	p.flags.Visit(func(f *pflag.Flag) {
		if reason, ok := p.Ignored[f.Name]; ok {
			p.Log.Warn("a flag has no effect", zap.String("flag", "--"+f.Name), zap.String("reason", reason))
		} else if reason, ok := ignoredCommon[f.Name]; ok {
			p.Log.Warn("a flag has no effect", zap.String("flag", "--"+f.Name), zap.String("reason", reason))
		}
	})
	for _, name := range p.Gates.unknown() {
		p.Log.Warn("a feature gate is not known here and has no effect", zap.String("gate", name))
	}
}

// Changed reports whether a flag was given.
func (p *Process) Changed(name string) bool { return p.flags.Changed(name) }

// suggest names the flag that may have been meant.
func suggest(fs *pflag.FlagSet, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	given := unknown.GetSpecifiedName()
	best, distance := "", len(given)/3+1
	fs.VisitAll(func(f *pflag.Flag) {
		if d := editDistance(given, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return "; did you mean --" + best + "?"
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
