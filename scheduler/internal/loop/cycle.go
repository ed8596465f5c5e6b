package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/defaultbinder"
	"xebec.dev/scheduler/internal/plugins/defaultpreemption"
	"xebec.dev/scheduler/internal/queue"
	"xebec.dev/scheduler/internal/schedule"
)

// maxPermit bounds how long a pod waits for permission.
const maxPermit = 15 * time.Minute

// waitingPod waits for plugins to permit it.
type waitingPod struct {
	decided chan *framework.Status // nil: go on
}

func (w *waitingPod) decide(st *framework.Status) {
	select {
	case w.decided <- st:
	default:
	}
}

// reserve runs what comes between a pod's node and its binding.
func (l *Loop) reserve(e *queue.Entry, a *framework.Attempt, began time.Time) {
	var wait time.Duration
	st := l.point("Reserve", e.Profile, len(e.Profile.Reserve), func() *framework.Status { return reserveAll(l, e.Profile, a) })
	if st == nil {
		st = l.point("Permit", e.Profile, len(e.Profile.Permit), func() (st *framework.Status) {
			wait, st = permitAll(l, e.Profile, a)
			return st
		})
	}
	if st != nil {
		l.refused(e, a, st, began)
		return
	}
	var todo []framework.PreBinder
	for _, pl := range e.Profile.PreBind {
		if st := pl.PreBindPreFlight(a); !st.Is(framework.Skip) {
			todo = append(todo, pl)
		}
	}
	l.withdraw(e)
	if wait == 0 && len(todo) == 0 {
		l.bind(e, a, began)
		return
	}
	l.preBind(e, a, todo, wait, began)
}

// point runs the plugins of an extension point, if there are any, and tells
// how long they took.
func (l *Loop) point(name string, p *framework.Profile, plugins int, f func() *framework.Status) *framework.Status {
	if plugins == 0 {
		return nil
	}
	began := time.Now()
	st := f()
	l.o.Metrics.Point(name, statusText(st), p.Name, time.Since(began))
	return st
}

func statusText(st *framework.Status) string {
	if st == nil {
		return framework.Success.String()
	}
	return st.Code.String()
}

func reserveAll(l *Loop, p *framework.Profile, a *framework.Attempt) *framework.Status {
	for _, pl := range p.Reserve {
		if st := l.timed(pl, "Reserve", func() *framework.Status { return pl.Reserve(a) }); st != nil {
			return st
		}
	}
	return nil
}

// permitAll gives the longest time that a plugin has the pod wait.
func permitAll(l *Loop, p *framework.Profile, a *framework.Attempt) (wait time.Duration, refused *framework.Status) {
	for _, pl := range p.Permit {
		var timeout time.Duration
		st := l.timed(pl, "Permit", func() (st *framework.Status) {
			st, timeout = pl.Permit(a)
			return st
		})
		switch {
		case st.Is(framework.Wait):
			wait = max(wait, min(timeout, maxPermit))
		case st != nil:
			return 0, st
		}
	}
	return wait, nil
}

// sampleEvery so many pods, their plugins are timed one by one.
const sampleEvery = 16

// timed runs a plugin, and tells how long it took for some of the pods.
func (l *Loop) timed(pl framework.Plugin, point string, f func() *framework.Status) *framework.Status {
	if l.decided%sampleEvery != 0 {
		return f()
	}
	began := time.Now()
	st := f()
	l.o.Metrics.Plugin(pl.Name(), point, statusText(st), time.Since(began))
	return st
}

// preBind waits and works beside the loop, then comes back to bind.
func (l *Loop) preBind(e *queue.Entry, a *framework.Attempt, todo []framework.PreBinder, wait time.Duration, began time.Time) {
	w := &waitingPod{decided: make(chan *framework.Status, 1)}
	if wait > 0 {
		l.waiting[a.Pod.UID] = w
	}
	l.beside(func() {
		asked := time.Now()
		st := permitted(l.ctx, w, wait)
		if wait > 0 {
			l.o.Metrics.Permitted(statusText(st), time.Since(asked))
		}
		took := make([]time.Duration, 0, len(todo))
		said := st
		for _, pl := range todo {
			if said == nil {
				began := time.Now()
				said = pl.PreBind(l.ctx, a)
				took = append(took, time.Since(began))
			}
		}
		st = said
		l.Post(func() {
			l.preBound(e.Profile, todo, took, st)
			delete(l.waiting, a.Pod.UID)
			if l.stale(a.Pod) {
				l.giveUp(e, a)
				return
			}
			if st != nil {
				l.refused(e, a, st, began)
				return
			}
			l.bind(e, a, began)
		})
	})
}

// preBound tells how long pre-binding took; the last of the plugins that were
// asked may have refused.
func (l *Loop) preBound(p *framework.Profile, todo []framework.PreBinder, took []time.Duration, st *framework.Status) {
	var all time.Duration
	for i, d := range took {
		all += d
		status := framework.Success.String()
		if i == len(took)-1 {
			status = statusText(st)
		}
		l.o.Metrics.Plugin(todo[i].Name(), "PreBind", status, d)
	}
	if len(took) > 0 {
		l.o.Metrics.Point("PreBind", statusText(st), p.Name, all)
	}
}

// beside runs f on a goroutine of its own that the loop waits for.
func (l *Loop) beside(f func()) {
	l.o.Metrics.Goroutines("binding", 1)
	l.side.Go(func() {
		defer l.o.Metrics.Goroutines("binding", -1)
		f()
	})
}

func permitted(ctx context.Context, w *waitingPod, wait time.Duration) *framework.Status {
	if wait == 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case st := <-w.decided:
		return st
	case <-t.C:
		return framework.NewStatus("", framework.Unschedulable, fmt.Sprintf("timed out waiting %v for permission", wait))
	case <-ctx.Done():
		return framework.Errorf("", "%w", ctx.Err())
	}
}

// refused takes back what was reserved: a plugin said no after all.
func (l *Loop) refused(e *queue.Entry, a *framework.Attempt, st *framework.Status, began time.Time) {
	l.unreserve(e.Profile, a)
	if !l.unassume(a.Pod) {
		return
	}
	if !st.Rejected() {
		err := st.Err
		if err == nil {
			err = errors.New(st.Message())
		}
		l.failed(e, err, began)
		return
	}
	d := &schedule.Decision{Pod: a.Pod, Diagnosis: &schedule.Diagnosis{
		Nodes: l.Cluster.Len(), Reasons: map[string]int{st.Message(): 1}, Plugins: map[string]bool{st.Plugin: true}, Pending: map[string]bool{},
	}}
	l.rejected(e, d, began)
}

func (l *Loop) unreserve(p *framework.Profile, a *framework.Attempt) {
	for _, pl := range slices.Backward(p.Reserve) {
		pl.Unreserve(a)
	}
}

// batches reports whether the profile binds in the scheduler's own way.
func (l *Loop) batches(p *framework.Profile) bool {
	return len(p.Bind) == 1 && p.Bind[0].Name() == defaultbinder.Name
}

// bindAside lets extenders and plugins bind, beside the loop.
func (l *Loop) bindAside(e *queue.Entry, a *framework.Attempt, began time.Time) {
	done := func(err error) {
		l.Post(func() {
			l.bindings--
			l.bound(e, a, began, err)
		})
	}
	l.beside(func() {
		if l.o.Extenders != nil && l.o.Extenders.Binds(a.Pod.Obj) {
			done(l.o.Extenders.Bind(l.ctx, a.Pod.Obj, a.Node))
			return
		}
		for _, b := range e.Profile.Bind {
			if b.Name() == defaultbinder.Name {
				l.w.Bind(a.Pod.Obj, a.Node, done)
				return
			}
			st := b.Bind(l.ctx, a)
			switch {
			case st.Is(framework.Skip):
				continue
			case st != nil:
				done(errors.New(st.Message()))
			default:
				done(nil)
			}
			return
		}
		done(errors.New("no plugin of the profile binds the pod"))
	})
}

// makeRoom asks the profile's PostFilters, and gives the node nominated.
func (l *Loop) makeRoom(e *queue.Entry, d *schedule.Decision) string {
	if !d.Diagnosis.Decided() || len(e.Profile.PostFilter) == 0 {
		return e.Nominated
	}
	a := &framework.Attempt{Cluster: l.Cluster, Pod: e.Pod, Node: e.Nominated, Rejection: d.Diagnosis.Verdict, Fits: d.Diagnosis.FitsNow, Settle: d.Diagnosis.Settle}
	began, outcome := time.Now(), framework.Unschedulable.String()
	defer func() { l.o.Metrics.Point("PostFilter", outcome, e.Profile.Name, time.Since(began)) }()
	var said []string
	nominated := e.Nominated
	for _, pl := range e.Profile.PostFilter {
		if pl.Name() == defaultpreemption.Name {
			l.o.Metrics.Preempting()
		}
		asked := time.Now()
		result, st := pl.PostFilter(l.ctx, a)
		l.o.Metrics.Plugin(pl.Name(), "PostFilter", statusText(st), time.Since(asked))
		if st == nil && result != nil {
			outcome = framework.Success.String()
			l.evict(e, result)
			return result.Nominated
		}
		if m := st.Message(); m != "" {
			said = append(said, m)
		}
		if result != nil && result.Clear {
			nominated = ""
		}
	}
	d.Diagnosis.PostFilter = strings.Join(said, ", ")
	return nominated
}
