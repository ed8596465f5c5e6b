package source

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/kubelet/internal/runtime"
)

// Mirrors shows static pods in the API.
type Mirrors struct {
	API *client.Client
	// Have is the API's pod of a name, on this node.
	Have func(k runtime.Key) (*corev1.Pod, bool)
	// All are all mirror pods of this node.
	All func() []*corev1.Pod
	// Node is this node in the API, whose UID owns mirror pods.
	Node func() *corev1.Node
	// Alive reports whether a static pod still has something to stop.
	Alive func(uid types.UID) bool
	Log   *zap.Logger

	mu     sync.Mutex
	static map[runtime.Key]*corev1.Pod // guarded by mu; nil before it is known
	wake   chan struct{}
	once   sync.Once
}

func (m *Mirrors) init() { m.once.Do(func() { m.wake = make(chan struct{}, 1) }) }

// Set says which static pods there are.
func (m *Mirrors) Set(pods []*corev1.Pod) {
	next := map[runtime.Key]*corev1.Pod{}
	for _, p := range pods {
		next[runtime.KeyOf(p)] = p
	}
	m.mu.Lock()
	m.static = next
	m.mu.Unlock()
	m.Look()
}

// Look lets the mirrors be compared again.
func (m *Mirrors) Look() {
	m.init()
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// retry is the pause after a failure.
const retry = 2 * time.Second

// Run keeps the mirrors until ctx ends. The API's pods are known by then.
func (m *Mirrors) Run(ctx context.Context) error {
	m.init()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := m.sync(ctx); err != nil && ctx.Err() == nil {
			m.Log.Debug("mirror pods are not what they should be yet", zap.Error(err))
			timer.Reset(retry)
		}
	}
}

func (m *Mirrors) sync(ctx context.Context) error {
	m.mu.Lock()
	static := m.static
	m.mu.Unlock()
	if static == nil {
		return nil
	}
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, mirror := range m.All() {
		pod := static[runtime.KeyOf(mirror)]
		if pod != nil && mirror.DeletionTimestamp == nil && mirror.Annotations[runtime.ConfigMirror] == pod.Annotations[runtime.ConfigHash] {
			continue
		}
		if pod == nil && m.Alive(types.UID(mirror.Annotations[runtime.ConfigHash])) {
			continue // it is still being stopped
		}
		keep(m.remove(ctx, mirror))
	}
	for k, pod := range static {
		if have, ok := m.Have(k); !ok {
			keep(m.create(ctx, pod))
		} else if !runtime.IsMirror(have) {
			keep(fmt.Errorf("static pod %s can't be shown: the API has another pod of that name; delete it", k))
		}
	}
	return first
}

func (m *Mirrors) remove(ctx context.Context, mirror *corev1.Pod) error {
	now := int64(0)
	err := client.Delete[*corev1.Pod](ctx, m.API, mirror.Namespace, mirror.Name, client.DeleteOptions{GracePeriod: &now, UID: mirror.UID})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (m *Mirrors) create(ctx context.Context, pod *corev1.Pod) error {
	node := m.Node()
	if node == nil || node.UID == "" {
		return fmt.Errorf("the node is not registered yet")
	}
	mirror := pod.DeepCopy()
	mirror.UID, mirror.ResourceVersion = "", ""
	mirror.Status = corev1.PodStatus{}
	mirror.Annotations[runtime.ConfigMirror] = pod.Annotations[runtime.ConfigHash]
	yes := true
	mirror.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &yes}}
	_, err := client.Create(ctx, m.API, mirror)
	if apierrors.IsAlreadyExists(err) {
		return nil // the watch will say
	}
	if err != nil {
		return fmt.Errorf("create the mirror pod of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
