package upstreamstorage

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	upstream "k8s.io/apiserver/pkg/storage"

	"xebec.dev/apiserver/internal/storage"
)

// Watch starts a cursor and a goroutine that reads it.
func (a *adapter) Watch(ctx context.Context, key string, opts upstream.ListOptions) (watch.Interface, error) {
	namespace, name, err := a.listed(key, opts.Recursive)
	if err != nil {
		return nil, err
	}
	o := storage.WatchOptions{Bookmarks: opts.Predicate.AllowWatchBookmarks, Match: storage.NotOlderThan}
	if o.Selection, err = a.selectionOf(namespace, name, opts.Predicate); err != nil {
		return nil, err
	}
	if o.Match, o.Revision, err = match(opts.ResourceVersion, opts.ResourceVersionMatch); err != nil {
		return nil, err
	}
	if opts.SendInitialEvents != nil && *opts.SendInitialEvents {
		o.InitialEvents = true
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{events: make(chan watch.Event, 100), cancel: cancel}
	cursor, err := a.c.Watch(ctx, o)
	if err != nil {
		defer cancel()
		err = translate(err, key)
		if status, ok := err.(apierrors.APIStatus); ok && apierrors.IsResourceExpired(err) {
			// Upstream tells it within the stream.
			s := status.Status()
			w.events <- watch.Event{Type: watch.Error, Object: &s}
			close(w.events)
			return w, nil
		}
		return nil, err
	}
	go w.run(ctx, cursor)
	return w, nil
}

type watcher struct {
	events chan watch.Event
	cancel context.CancelFunc
	once   sync.Once
}

func (w *watcher) Stop() { w.once.Do(w.cancel) }

func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

func (w *watcher) run(ctx context.Context, cursor storage.Watcher) {
	defer close(w.events)
	defer cursor.Close()
	for {
		events, err := cursor.Next(ctx)
		if errors.Is(err, storage.ErrExpired) {
			s := apierrors.NewResourceExpired(err.Error()).ErrStatus
			w.put(ctx, watch.Event{Type: watch.Error, Object: &s})
		}
		if err != nil {
			return
		}
		for i := range events {
			e, err := eventOf(&events[i])
			if err != nil {
				return
			}
			if !w.put(ctx, e) {
				return
			}
		}
	}
}

func (w *watcher) put(ctx context.Context, e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

var eventTypes = [...]watch.EventType{
	storage.Added: watch.Added, storage.Modified: watch.Modified, storage.Deleted: watch.Deleted, storage.Bookmark: watch.Bookmark,
}

func eventOf(e *storage.Event) (watch.Event, error) {
	pod := &example.Pod{}
	out := watch.Event{Type: eventTypes[e.Type], Object: runtime.Object(pod)}
	if e.Type != storage.Bookmark {
		return out, decode(e.Object, e.Revision, pod)
	}
	pod.ResourceVersion = formatRevision(e.Revision)
	if e.InitialEventsEnd {
		pod.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	return out, nil
}
