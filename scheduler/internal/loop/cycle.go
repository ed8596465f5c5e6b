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
	for _, pl := range e.Profile.Reserve {
		if st := pl.Reserve(a); st != nil {
			l.refused(e, a, st, began)
			return
		}
	}
	wait := time.Duration(0)
	for _, pl := range e.Profile.Permit {
		st, timeout := pl.Permit(a)
		switch {
		case st.Is(framework.Wait):
			wait = max(wait, min(timeout, maxPermit))
		case st != nil:
			l.refused(e, a, st, began)
			return
		}
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

// preBind waits and works beside the loop, then comes back to bind.
func (l *Loop) preBind(e *queue.Entry, a *framework.Attempt, todo []framework.PreBinder, wait time.Duration, began time.Time) {
	w := &waitingPod{decided: make(chan *framework.Status, 1)}
	if wait > 0 {
		l.waiting[a.Pod.UID] = w
	}
	l.side.Add(1)
	go func() {
		defer l.side.Done()
		st := permitted(l.ctx, w, wait)
		for _, pl := range todo {
			if st == nil {
				st = pl.PreBind(l.ctx, a)
			}
		}
		l.Post(func() {
			delete(l.waiting, a.Pod.UID)
			if st != nil {
				l.refused(e, a, st, began)
				return
			}
			l.bind(e, a, began)
		})
	}()
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
	l.bindings++
	done := func(err error) {
		l.Post(func() {
			l.bindings--
			l.bound(e, a, began, err)
		})
	}
	l.side.Add(1)
	go func() {
		defer l.side.Done()
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
	}()
}

// makeRoom asks the profile's PostFilters, and gives the node nominated.
func (l *Loop) makeRoom(e *queue.Entry, d *schedule.Decision) string {
	if !d.Diagnosis.Decided() || len(e.Profile.PostFilter) == 0 {
		return e.Nominated
	}
	a := &framework.Attempt{Cluster: l.Cluster, Pod: e.Pod, Node: e.Nominated, Rejection: d.Diagnosis.Verdict, Fits: d.Diagnosis.FitsNow, Settle: d.Diagnosis.Settle}
	began := l.now()
	defer func() { l.o.Metrics.Extension("PostFilter", "Unschedulable", e.Profile.Name, l.now().Sub(began)) }()
	var said []string
	nominated := e.Nominated
	for _, pl := range e.Profile.PostFilter {
		result, st := pl.PostFilter(l.ctx, a)
		if st == nil && result != nil {
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
