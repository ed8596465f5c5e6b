// Package source brings together which pods should be on this node: those of
// the API that are bound to it, and those of manifests on its disk, which the
// API is shown as mirror pods.
package source

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/core"
	"xebec.dev/kubelet/internal/runtime"
)

// maxManifest is how long a manifest may be, in bytes: more is no pod.
const maxManifest = 10 << 20

// Static reads manifests of a directory, or of one file.
type Static struct {
	Path string
	Node string
	// Every is how often the directory is read even if nothing was heard.
	Every time.Duration
	// Set is told all pods that there are, whenever they may have changed.
	Set func(pods []*corev1.Pod)
	Log *zap.Logger

	last map[string]string      // errors by file, to log each once
	good map[string]*corev1.Pod // by file, the last that could be read
}

// Run reads until ctx ends.
func (s *Static) Run(ctx context.Context) error {
	if s.Path == "" {
		s.Set(nil)
		<-ctx.Done()
		return ctx.Err()
	}
	changed, stop := watchDir(s.Path, s.Log)
	defer stop()
	t := time.NewTicker(max(s.Every, time.Second))
	defer t.Stop()
	for {
		if pods, err := s.read(); err != nil {
			s.Log.Warn("static pods can't be read; those that run stay", zap.String("path", s.Path), zap.Error(err))
		} else {
			s.Set(pods)
		}
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read gives the pods of all manifests that are good.
func (s *Static) read() ([]*corev1.Pod, error) {
	info, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files := []string{s.Path}
	if info.IsDir() {
		if files, err = manifests(s.Path); err != nil {
			return nil, err
		}
	}
	var pods []*corev1.Pod
	errs, good := map[string]string{}, map[string]*corev1.Pod{}
	for _, f := range files {
		pod, err := s.manifest(f)
		if err != nil {
			errs[f] = err.Error()
			if s.last[f] != err.Error() {
				s.Log.Error("a manifest is no pod that can run", zap.String("path", f), zap.Error(err))
			}
			// A slip of the editor must not end etcd: what the file said last
			// holds until it says something else, or is gone.
			if pod = s.good[f]; pod == nil {
				continue
			}
		}
		good[f] = pod
		pods = append(pods, pod)
	}
	s.last, s.good = errs, good
	return unique(pods, s.Log), nil
}

// unique drops the second pod of a name, which would fight the first.
func unique(pods []*corev1.Pod, log *zap.Logger) []*corev1.Pod {
	seen := map[runtime.Key]bool{}
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		k := runtime.KeyOf(p)
		if seen[k] {
			log.Warn("two manifests name the same pod; the first counts", zap.String("namespace", p.Namespace), zap.String("name", p.Name))
		}
		twice := seen[k]
		seen[k] = true
		return twice
	})
}

func manifests(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

func (s *Static) manifest(path string) (*corev1.Pod, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is no regular file")
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("has %d bytes; a manifest has at most %d", info.Size(), maxManifest)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(raw, path, s.Node)
}

// Parse makes a static pod of a manifest.
func Parse(raw []byte, source, node string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(raw, pod); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if pod.Kind != "Pod" || pod.APIVersion != "v1" {
		return nil, fmt.Errorf("is a %s of %s; only a Pod of v1 can be static", pod.Kind, pod.APIVersion)
	}
	own(pod, raw, source, node)
	core.DefaultPod(pod)
	if errs := core.ValidatePod(pod); len(errs) > 0 {
		return nil, fmt.Errorf("invalid pod: %w", errs.ToAggregate())
	}
	if err := refuse(pod).ToAggregate(); err != nil {
		return nil, fmt.Errorf("static pods may not refer to the API's objects: %w", err)
	}
	return pod, nil
}

// own makes the pod this node's: its name, its UID by content and place, its
// source.
func own(pod *corev1.Pod, raw []byte, source, node string) {
	if pod.UID == "" {
		h := md5.New() // a name, no secret
		fmt.Fprintf(h, "host:%s file:%s ", node, source)
		h.Write(raw)
		pod.UID = types.UID(hex.EncodeToString(h.Sum(nil)))
	}
	pod.Name = strings.ToLower(pod.Name + "-" + node)
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	pod.Spec.NodeName = node
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[runtime.ConfigHash] = string(pod.UID)
	pod.Annotations[runtime.ConfigSource] = "file"
	pod.Annotations[runtime.ConfigSeen] = time.Now().Format(time.RFC3339Nano)
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	pod.CreationTimestamp = metav1.Time{}
	pod.ResourceVersion, pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = "", nil, nil
	if pod.Spec.PriorityClassName == systemNodeCritical && pod.Spec.Priority == nil {
		pod.Spec.Priority = &nodeCritical
	}
	if pod.Spec.PriorityClassName == systemClusterCritical && pod.Spec.Priority == nil {
		pod.Spec.Priority = &clusterCritical
	}
}

// Classes that need no object.
const (
	systemNodeCritical    = "system-node-critical"
	systemClusterCritical = "system-cluster-critical"
)

var nodeCritical, clusterCritical int32 = 2000001000, 2000000000

// refuse finds what only the API could give.
func refuse(pod *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if pod.Spec.ServiceAccountName != "" {
		errs = append(errs, field.Forbidden(spec.Child("serviceAccountName"), "a static pod has no service account"))
	}
	if len(pod.Spec.ResourceClaims) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("resourceClaims"), "a static pod has no resource claims"))
	}
	for i, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil || v.Secret != nil || v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			errs = append(errs, field.Forbidden(spec.Child("volumes").Index(i), "use hostPath, emptyDir or downwardAPI"))
		}
	}
	return errs
}
