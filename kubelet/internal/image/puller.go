package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Reasons why a container waits for its image.
const (
	ErrImagePull      = "ErrImagePull"
	ImagePullBackOff  = "ImagePullBackOff"
	ErrImageNeverPull = "ErrImageNeverPull"
	InvalidImageName  = "InvalidImageName"
	InspectFailed     = "ImageInspectError"
)

// Error is why there is no image; Reason is for the container's status.
type Error struct {
	Reason, Message string
	// Until is when the next attempt may succeed; zero is unknown.
	Until time.Time
}

func (e *Error) Error() string { return e.Message }

// Event tells people what happens.
type Event func(kind, reason, message string)

// Pauses after failed pulls, as Kubernetes has them.
const (
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// Options of a puller.
type Options struct {
	// Parallel pulls; 0 is no limit, 1 one after the other.
	Parallel int
	// PerSecond is how many pulls begin in a second, after a Burst of them; 0 is
	// no limit.
	PerSecond, Burst int
	// Node has the node's own credentials, tried after a pod's.
	Node Keyring
	// Programs are asked last, for images that are to be pulled; their error is
	// told to Failed and the rest is tried. They may be nil.
	Programs interface {
		Credentials(ctx context.Context, image string) ([]*runtimeapi.AuthConfig, error)
	}
	Failed func(error)
	// Records are who opened which image; nil asks nobody.
	Records *Records
	// Pulled is told of each image that was pulled; it may be nil.
	Pulled func(size uint64, took time.Duration)
	// Progress bounds a pull that brings nothing; 0 doesn't.
	Now func() time.Time
}

// Puller makes images present.
type Puller struct {
	api   runtimeapi.ImageServiceClient
	o     Options
	slots chan struct{}
	rate  *rate

	mu       sync.Mutex
	failures map[string]failure // guarded by mu; by image and pod
	used     map[string]time.Time
}

type failure struct {
	delay   time.Duration
	at      time.Time
	message string
	shown   string // the pod's credentials that did not help
}

// NewPuller makes a puller over the runtime's image service.
func NewPuller(api runtimeapi.ImageServiceClient, o Options) *Puller {
	p := &Puller{api: api, o: o, rate: newRate(o.PerSecond, o.Burst), failures: map[string]failure{}, used: map[string]time.Time{}}
	if o.Parallel > 0 {
		p.slots = make(chan struct{}, o.Parallel)
	}
	if p.o.Now == nil {
		p.o.Now = time.Now
	}
	return p
}

// Want is an image to have.
type Want struct {
	Image   string
	Policy  corev1.PullPolicy
	Pod     string // for pauses: each pod has its own
	Handler string
	Keys    func() Keyring
	Sandbox *runtimeapi.PodSandboxConfig
	Event   Event
}

// shown sums up the pod's credentials for the image.
func (w *Want) shown() string {
	if w.Keys == nil {
		return ""
	}
	var sums []string
	for _, e := range w.Keys().find(w.Image) {
		sums = append(sums, hashOf(e.auth))
	}
	slices.Sort(sums)
	return strings.Join(sums, " ")
}

// Ensure makes an image present and gives what the runtime has. Errors are *Error.
func (p *Puller) Ensure(ctx context.Context, w Want) (*runtimeapi.Image, error) {
	name, err := WithTag(w.Image)
	if err != nil {
		message := fmt.Sprintf("Failed to apply default image tag %q: %v", w.Image, err)
		w.Event(corev1.EventTypeWarning, "InspectFailed", message)
		return nil, &Error{Reason: InvalidImageName, Message: message}
	}
	spec := &runtimeapi.ImageSpec{Image: name, UserSpecifiedImage: w.Image, RuntimeHandler: w.Handler}
	have, err := p.status(ctx, spec)
	if err != nil {
		message := fmt.Sprintf("Failed to inspect image %q: %v", w.Image, err)
		w.Event(corev1.EventTypeWarning, "InspectFailed", message)
		return nil, &Error{Reason: InspectFailed, Message: message}
	}
	if w.Keys != nil {
		w.Keys = sync.OnceValue(w.Keys)
	}
	there := have != nil && w.Policy != corev1.PullAlways
	switch open := there && p.o.Records.Open(w.Image, have.Id, w.Keys); {
	case there && !open && w.Policy == corev1.PullNever:
		message := fmt.Sprintf("Container image %q is present with pull policy of Never but does not have the proper auth (image secret) that was used to pull the image", w.Image)
		w.Event(corev1.EventTypeWarning, ErrImageNeverPull, message)
		return nil, &Error{Reason: ErrImageNeverPull, Message: message}
	case open:
		w.Event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", w.Image))
		return have, nil
	case w.Policy == corev1.PullNever:
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", w.Image)
		w.Event(corev1.EventTypeWarning, ErrImageNeverPull, message)
		return nil, &Error{Reason: ErrImageNeverPull, Message: message}
	}
	return p.pull(ctx, w, spec)
}

func (p *Puller) status(ctx context.Context, spec *runtimeapi.ImageSpec) (*runtimeapi.Image, error) {
	res, err := p.api.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec})
	if err != nil {
		return nil, err
	}
	if res.Image != nil {
		p.mu.Lock()
		p.used[res.Image.Id] = p.o.Now()
		p.mu.Unlock()
	}
	return res.Image, nil
}

// pull waits its pause out by refusing: the caller comes again. A pod that shows
// other credentials than those that failed does not wait.
func (p *Puller) pull(ctx context.Context, w Want, spec *runtimeapi.ImageSpec) (*runtimeapi.Image, error) {
	key, shown := w.Pod+" "+w.Image, w.shown()
	if f, until := p.paused(key, shown); f != nil {
		w.Event(corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", w.Image))
		return nil, &Error{Reason: ImagePullBackOff, Message: fmt.Sprintf("Back-off pulling image %q: %s: %s", w.Image, ErrImagePull, f.message), Until: until}
	}
	w.Event(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", w.Image))
	asked := p.o.Now()
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	began := p.o.Now()
	by, err := p.recorded(ctx, w, spec)
	ended := p.o.Now()
	p.leave()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		until := p.failed(key, shown, err.Error())
		w.Event(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", w.Image, err))
		return nil, &Error{Reason: ErrImagePull, Message: err.Error(), Until: until}
	}
	p.mu.Lock()
	delete(p.failures, key)
	p.mu.Unlock()
	have, err := p.status(ctx, spec)
	if have != nil {
		err = errors.Join(err, p.o.Records.done(w.Image, have.Id, by))
	} else {
		err = errors.Join(err, p.o.Records.failed(w.Image))
	}
	if err != nil {
		return nil, &Error{Reason: InspectFailed, Message: fmt.Sprintf("Failed to inspect image %q: %v", w.Image, err)}
	}
	if have == nil {
		return nil, &Error{Reason: ErrImagePull, Message: fmt.Sprintf("image %q was pulled and is not there: something removed it at once", w.Image)}
	}
	if p.o.Pulled != nil {
		p.o.Pulled(have.Size, ended.Sub(began))
	}
	w.Event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		w.Image, ended.Sub(began).Truncate(time.Millisecond), ended.Sub(asked).Truncate(time.Millisecond), have.Size))
	return have, nil
}

// recorded fetches, after it was noted that this begins.
func (p *Puller) recorded(ctx context.Context, w Want, spec *runtimeapi.ImageSpec) (by *Source, err error) {
	if err := p.o.Records.begin(w.Image); err != nil {
		return nil, fmt.Errorf("note that the image is pulled: %w", err)
	}
	if by, err = p.fetch(ctx, w, spec); err != nil {
		return nil, errors.Join(err, p.o.Records.failed(w.Image))
	}
	return by, nil
}

// fetch tries the credentials in turn, none if there are none, and gives the
// secret whose worked, nil if that was none.
func (p *Puller) fetch(ctx context.Context, w Want, spec *runtimeapi.ImageSpec) (*Source, error) {
	var auths []entry
	if w.Keys != nil {
		auths = w.Keys().find(w.Image)
	}
	auths = append(auths, p.o.Node.find(w.Image)...)
	if p.o.Programs != nil {
		more, err := p.o.Programs.Credentials(ctx, w.Image)
		if err != nil && p.o.Failed != nil {
			p.o.Failed(err)
		}
		for _, a := range more {
			auths = append(auths, entry{auth: a})
		}
	}
	if len(auths) == 0 {
		auths = []entry{{}}
	}
	var errs []error
	for _, a := range auths {
		if err := p.rate.turn(ctx, p.o.Now()); err != nil {
			return nil, err
		}
		_, err := p.api.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec, Auth: a.auth, SandboxConfig: w.Sandbox})
		if err == nil {
			return a.source, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (p *Puller) enter(ctx context.Context) error {
	if p.slots == nil {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Puller) leave() {
	if p.slots != nil {
		<-p.slots
	}
}

func (p *Puller) paused(key, shown string) (*failure, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.failures[key]
	until := f.at.Add(f.delay)
	if !ok || f.shown != shown || !until.After(p.o.Now()) {
		return nil, time.Time{}
	}
	return &f, until
}

// failed counts a failure and says when to try again. Failures of long ago
// are forgotten.
func (p *Puller) failed(key, shown, message string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	f := p.failures[key]
	if f.delay == 0 || now.Sub(f.at) > 2*maxPause {
		f.delay = firstPause
	} else {
		f.delay = min(2*f.delay, maxPause)
	}
	f.at, f.message, f.shown = now, message, shown
	p.failures[key] = f
	for k, old := range p.failures {
		if now.Sub(old.at) > 2*maxPause {
			delete(p.failures, k)
		}
	}
	return now.Add(f.delay)
}

// lastUsed is when an image was asked for.
func (p *Puller) lastUsed(id string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.used[id]
	return t, ok
}

// forget drops what is known of an image that is gone.
func (p *Puller) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, id)
}
