package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/image"
)

// Bounds of one run.
const (
	maxTime   = time.Minute
	maxAnswer = 1 << 20 // bytes
	maxTold   = 1 << 10 // bytes of what a program that failed has said
)

// Programs are all that are configured.
type Programs struct {
	o    Options
	list []*program
}

// program is one of them.
type program struct {
	Provider
	path string

	mu     sync.Mutex
	kept   map[string]answer // guarded by mu, by key
	asking map[string]*run   // guarded by mu, by image
}

// answer is what a program said, by pattern of images.
type answer struct {
	auth  map[string]*runtimeapi.AuthConfig
	until time.Time
}

// run is a run under way, which others wait for.
type run struct {
	done chan struct{}
	auth map[string]*runtimeapi.AuthConfig // valid once done
	err  error
}

func newProgram(p Provider, path string) *program {
	return &program{Provider: p, path: path, kept: map[string]answer{}, asking: map[string]*run{}}
}

// Credentials are what all programs that know an image say, and what went
// wrong with the others.
func (p *Programs) Credentials(ctx context.Context, name string) (out []*runtimeapi.AuthConfig, err error) {
	n, err := image.ParseName(name)
	if err != nil {
		return nil, nil // nobody gets as far as pulling it
	}
	repository := n.Host + "/" + n.Path
	var errs []error
	for _, one := range p.list {
		if !one.matches(repository) {
			continue
		}
		auth, err := one.get(ctx, n.Host, repository, p.o)
		if err != nil {
			errs = append(errs, fmt.Errorf("credential provider %s: %w", one.Name, err))
			continue
		}
		out = append(out, fitting(auth, repository)...)
	}
	return out, errors.Join(errs...)
}

func (p *program) matches(repository string) bool {
	return slices.ContainsFunc(p.MatchImages, func(m string) bool {
		ok, err := image.Matches(m, repository)
		return err == nil && ok
	})
}

// fitting are the credentials for an image, the most specific pattern first.
func fitting(auth map[string]*runtimeapi.AuthConfig, repository string) (out []*runtimeapi.AuthConfig) {
	var patterns []string
	for m := range auth {
		if ok, err := image.Matches(m, repository); err == nil && ok {
			patterns = append(patterns, m)
		}
	}
	slices.SortFunc(patterns, func(a, b string) int { return strings.Compare(b, a) })
	for _, m := range patterns {
		out = append(out, auth[m])
	}
	return out
}

// Keys under which answers are kept.
const (
	byImage    = "Image"
	byRegistry = "Registry"
	global     = "Global"
)

func key(kind, host, repository string) string {
	switch kind {
	case byImage:
		return "image " + repository
	case byRegistry:
		return "registry " + host
	}
	return "global"
}

// get is a kept answer, or a new one. Those who ask for the same image at once
// share a run.
func (p *program) get(ctx context.Context, host, repository string, o Options) (map[string]*runtimeapi.AuthConfig, error) {
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	p.mu.Lock()
	for k, a := range p.kept {
		if !a.until.After(now()) {
			delete(p.kept, k)
		}
	}
	for _, kind := range []string{byImage, byRegistry, global} {
		if a, ok := p.kept[key(kind, host, repository)]; ok {
			p.mu.Unlock()
			return a.auth, nil
		}
	}
	r := p.asking[repository]
	if r == nil {
		r = &run{done: make(chan struct{})}
		p.asking[repository] = r
		go p.ask(context.WithoutCancel(ctx), r, host, repository, o, now)
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.auth, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *program) ask(ctx context.Context, r *run, host, repository string, o Options, now func() time.Time) {
	began := now()
	res, err := p.exec(ctx, repository)
	if o.Ran != nil {
		o.Ran(p.Name, now().Sub(began), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asking, repository)
	if r.err = err; err == nil {
		r.auth = res.auth()
		hold := p.DefaultCache.Duration
		if res.CacheDuration != nil {
			hold = res.CacheDuration.Duration
		}
		if hold > 0 {
			p.kept[key(res.CacheKeyType, host, repository)] = answer{r.auth, now().Add(hold)}
		}
	}
	close(r.done)
}

type request struct {
	metav1.TypeMeta `json:",inline"`
	Image           string `json:"image"`
}

type response struct {
	metav1.TypeMeta `json:",inline"`
	CacheKeyType    string           `json:"cacheKeyType"`
	CacheDuration   *metav1.Duration `json:"cacheDuration"`
	Auth            map[string]struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"auth"`
}

func (r *response) auth() map[string]*runtimeapi.AuthConfig {
	out := map[string]*runtimeapi.AuthConfig{}
	for m, a := range r.Auth {
		out[m] = &runtimeapi.AuthConfig{Username: a.Username, Password: a.Password}
	}
	return out
}

// exec runs the program. What it says on its error output is for people: it
// must hold no secrets, unlike its answer, which no error repeats.
func (p *program) exec(ctx context.Context, repository string) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	in, err := json.Marshal(request{metav1.TypeMeta{Kind: "CredentialProviderRequest", APIVersion: p.APIVersion}, repository})
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, p.path, p.Args...)
	c.Env = os.Environ()
	for _, e := range p.Env {
		c.Env = append(c.Env, e.Name+"="+e.Value)
	}
	out, told := &limited{max: maxAnswer}, &limited{max: maxTold}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), out, told
	c.WaitDelay = time.Second // what it started may hold its outputs open
	switch err := c.Run(); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s did not answer within %s", p.path, maxTime)
	case err != nil:
		return nil, fmt.Errorf("run %s: %w: %s", p.path, err, strings.TrimSpace(told.kept.String()))
	case out.over:
		return nil, fmt.Errorf("%s said more than %d bytes", p.path, maxAnswer)
	}
	r := &response{}
	if err := json.Unmarshal(out.kept.Bytes(), r); err != nil {
		return nil, fmt.Errorf("%s did not say a CredentialProviderResponse in JSON", p.path)
	}
	if r.Kind != "CredentialProviderResponse" || r.APIVersion != p.APIVersion {
		return nil, fmt.Errorf("%s said kind %q of %q: expected CredentialProviderResponse of %s", p.path, r.Kind, r.APIVersion, p.APIVersion)
	}
	if !slices.Contains([]string{byImage, byRegistry, global}, r.CacheKeyType) {
		return nil, fmt.Errorf("%s said cacheKeyType %q: expected Image, Registry or Global", p.path, r.CacheKeyType)
	}
	return r, nil
}

// limited keeps no more than so much.
type limited struct {
	kept bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.max - l.kept.Len(); len(p) > room {
		l.over = true
		l.kept.Write(p[:room])
		return len(p), nil
	}
	return l.kept.Write(p)
}
