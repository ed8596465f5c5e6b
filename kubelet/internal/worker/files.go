package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Modes of directories and files below the kubelet's.
const (
	dirMode     = 0o750
	logMode     = 0o755
	hostsMode   = 0o644
	messageMode = 0o666 // any user of the container may say why it ended
)

func (w *Worker) podDir() string { return filepath.Join(w.o.RootDir, "pods", string(w.uid)) }

func (w *Worker) logDir(pod *corev1.Pod) string { return runtime.LogDirectory(w.o.PodLogs, pod) }

func (w *Worker) directories(pod *corev1.Pod) error {
	for _, d := range []string{"volumes", "plugins"} {
		if err := os.MkdirAll(filepath.Join(w.podDir(), d), dirMode); err != nil {
			return err
		}
	}
	return os.MkdirAll(w.logDir(pod), logMode)
}

func mountsPath(mounts []*runtimeapi.Mount, path string) bool {
	for _, m := range mounts {
		if filepath.Clean(m.ContainerPath) == path {
			return true
		}
	}
	return false
}

const hostsPath = "/etc/hosts"

// ownFiles adds the files that the kubelet gives each container: /etc/hosts,
// the log's directory, and the place for a last word.
func (w *Worker) ownFiles(pod *corev1.Pod, c *corev1.Container, ips []string, in *runtime.ContainerInput) error {
	if (len(ips) > 0 || pod.Spec.HostNetwork) && !mountsPath(in.Mounts, hostsPath) {
		path, err := w.hosts(pod, ips)
		if err != nil {
			return fmt.Errorf("make the hosts file: %w", err)
		}
		in.Mounts = append(in.Mounts, &runtimeapi.Mount{ContainerPath: hostsPath, HostPath: path, SelinuxRelabel: true})
	}
	if err := os.MkdirAll(filepath.Join(w.logDir(pod), c.Name), logMode); err != nil {
		return err
	}
	if c.TerminationMessagePath == "" {
		return nil
	}
	path, err := w.messageFile(c.Name)
	if err != nil {
		return fmt.Errorf("make the termination message's file: %w", err)
	}
	in.Mounts = append(in.Mounts, &runtimeapi.Mount{ContainerPath: c.TerminationMessagePath, HostPath: path, SelinuxRelabel: true})
	return nil
}

func (w *Worker) hosts(pod *corev1.Pod, ips []string) (string, error) {
	var host []byte
	if pod.Spec.HostNetwork {
		var err error
		if host, err = os.ReadFile(hostsPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	content, err := runtime.HostsFile(pod, ips, w.o.DNS.ClusterDomain, host)
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.podDir(), "etc-hosts")
	// Written in place: containers have the file itself mounted.
	if err := os.WriteFile(path, content, hostsMode); err != nil {
		return "", err
	}
	return path, os.Chmod(path, hostsMode)
}

func (w *Worker) messageFile(container string) (string, error) {
	dir := filepath.Join(w.podDir(), "containers", container)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return "", err
	}
	var name [4]byte
	_, _ = rand.Read(name[:]) // never fails
	path := filepath.Join(dir, hex.EncodeToString(name[:]))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, messageMode)
	if err != nil {
		return "", err
	}
	return path, errors.Join(f.Chmod(messageMode), f.Close())
}

// legacyName of a link to a log, which log collectors go by.
func legacyName(pod runtime.Key, container, id string) string {
	const longest = 255 - len(".log")
	name := fmt.Sprintf("%s_%s_%s-%s", pod.Name, pod.Namespace, container, id)
	return name[:min(len(name), longest)] + ".log"
}

func (w *Worker) linkLog(pod *corev1.Pod, run *runtime.Container) {
	if w.o.LegacyLogs == "" || run.LogPath == "" {
		return
	}
	link := filepath.Join(w.o.LegacyLogs, legacyName(w.key, run.Name, run.ID))
	if err := os.Symlink(run.LogPath, link); err != nil && !errors.Is(err, fs.ErrExist) {
		w.log.Warn("the log can't be linked", zap.String("path", link), zap.Error(err))
	}
}

func (w *Worker) unlinkLog(run *runtime.Container) {
	if w.o.LegacyLogs != "" {
		_ = os.Remove(filepath.Join(w.o.LegacyLogs, legacyName(w.key, run.Name, run.ID))) // it may never have been made
	}
}

// removeLogs removes the logs of one run, rotated ones too.
func (w *Worker) removeLogs(run *runtime.Container) {
	w.unlinkLog(run)
	if run.LogPath == "" || !strings.HasPrefix(run.LogPath, w.o.PodLogs+"/") {
		return
	}
	files, err := filepath.Glob(run.LogPath + "*")
	if err != nil {
		return
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.log.Warn("a log can't be removed", zap.String("path", f), zap.Error(err))
		}
	}
}

// removeFiles removes the pod's directories. Volumes are unmounted by then;
// *volume.Manager does not go through what is still a mount.
func (w *Worker) removeFiles(ctx context.Context) error {
	if err := w.o.Volumes.Remove(ctx, w.uid); err != nil {
		return fmt.Errorf("remove the pod's directory: %w", err)
	}
	w.mu.Lock()
	pod := w.pod
	w.mu.Unlock()
	return os.RemoveAll(w.logDir(pod))
}
