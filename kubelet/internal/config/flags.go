package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Flags are those settings that are no part of the configuration file, and
// the file's own that were given as flags.
type Flags struct {
	ConfigDir           string
	BootstrapKubeconfig string
	CertDir             string
	RootDir             string
	HostnameOverride    string
	NodeIP              string
	NodeLabels          map[string]string
	CloudProvider       string
	CredentialConfig    string
	CredentialBinDir    string
	LockFile            string
	ExitOnLock          bool

	given []setting
}

// setting is a flag that stands for a field of the file.
type setting struct {
	name  string
	value string
	apply func(*Kubelet, string) error
}

// value is the pflag.Value of a setting.
type value struct {
	f    *Flags
	kind string
	s    setting
}

func (v *value) String() string { return v.s.value }
func (v *value) Type() string   { return v.kind }
func (v *value) Set(s string) error {
	if err := v.s.apply(&Kubelet{}, s); err != nil { // says at once what is wrong
		return err
	}
	v.s.value = s
	v.f.given = append(v.f.given, v.s)
	return nil
}

// Add adds the kubelet's own flags.
func (f *Flags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.ConfigDir, "config-dir", "", "Directory of drop-ins, *.conf, each of which changes the configuration file's settings, in the order of their names.")
	fs.StringVar(&f.BootstrapKubeconfig, "bootstrap-kubeconfig", "", "Kubeconfig with which a client certificate is asked for when the file of --kubeconfig does not exist.")
	fs.StringVar(&f.CertDir, "cert-dir", "/var/lib/kubelet/pki", "Directory of the kubelet's certificates.")
	fs.StringVar(&f.RootDir, "root-dir", "/var/lib/kubelet", "Directory of the kubelet's files: volumes, plugins.")
	fs.StringVar(&f.HostnameOverride, "hostname-override", "", "Name of the node instead of the host's.")
	fs.StringVar(&f.NodeIP, "node-ip", "", "IP address of the node, or two, one of each family, comma-separated. :: and 0.0.0.0 choose the family of the default address.")
	fs.StringToStringVar(&f.NodeLabels, "node-labels", nil, "Labels of the node when it is registered, key=value, comma-separated.")
	fs.StringVar(&f.CloudProvider, "cloud-provider", "", "Only external is known: the node starts with a taint until a cloud controller manager has looked at it.")
	fs.StringVar(&f.CredentialConfig, "image-credential-provider-config", "", "Configuration of programs that give credentials for pulling images.")
	fs.StringVar(&f.CredentialBinDir, "image-credential-provider-bin-dir", "", "Directory of these programs.")
	for _, d := range settings {
		if fs.Lookup(d.name) != nil {
			continue // all components have it
		}
		v := &value{f: f, kind: d.kind, s: setting{name: d.name, apply: d.apply}}
		fs.Var(v, d.name, "The configuration file's "+d.field+".")
		if d.kind == "bool" {
			fs.Lookup(d.name).NoOptDefVal = "true"
		}
	}
}

// Ignored are flags without effect, with the reason.
var Ignored = map[string]string{
	"pod-infra-container-image":                "the runtime's configuration names the sandbox image, and the runtime keeps it",
	"runtime-cgroups":                          "the runtime's own use of resources is not reported",
	"containerd":                               "statistics come from the cgroups themselves",
	"containerd-namespace":                     "statistics come from the cgroups themselves",
	"lock-file":                                "whoever starts two kubelets on a node must give them directories of their own",
	"exit-on-lock-contention":                  "there is no lock file",
	"seccomp-profile-root":                     "it is seccomp below --root-dir",
	"keep-terminated-pod-volumes":              "volumes of pods that are over are always unmounted",
	"minimum-container-ttl-duration":           "one earlier run of each container is kept",
	"maximum-dead-containers":                  "one earlier run of each container is kept",
	"maximum-dead-containers-per-container":    "one earlier run of each container is kept",
	"experimental-allocatable-ignore-eviction": "allocatable is always less what eviction keeps free",
	"experimental-mounter-path":                "mounts are made by system calls",
	"node-status-max-images":                   "use the configuration file's nodeStatusMaxImages",
	"log-backtrace-at":                         "logs have no backtraces",
	"kernel-memcg-notification":                "memory is looked at at intervals",
}

type definition struct {
	name, kind, field string
	apply             func(*Kubelet, string) error
}

func text(name, field string, at func(*Kubelet) *string) definition {
	return definition{name, "string", field, func(k *Kubelet, s string) error { *at(k) = s; return nil }}
}

func boolean(name, field string, at func(*Kubelet) **bool) definition {
	return definition{name, "bool", field, func(k *Kubelet, s string) error {
		b, err := strconv.ParseBool(s)
		*at(k) = &b
		return err
	}}
}

func plainBool(name, field string, at func(*Kubelet) *bool) definition {
	return definition{name, "bool", field, func(k *Kubelet, s string) (err error) { *at(k), err = strconv.ParseBool(s); return err }}
}

func integer[T int32 | int64](name, field string, at func(*Kubelet) *T) definition {
	return definition{name, "int", field, func(k *Kubelet, s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		*at(k) = T(n)
		return err
	}}
}

func intPtr[T int32 | int64](name, field string, at func(*Kubelet) **T) definition {
	return definition{name, "int", field, func(k *Kubelet, s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		v := T(n)
		*at(k) = &v
		return err
	}}
}

func duration(name, field string, at func(*Kubelet) *metav1.Duration) definition {
	return definition{name, "duration", field, func(k *Kubelet, s string) (err error) { at(k).Duration, err = time.ParseDuration(s); return err }}
}

func list(name, field string, at func(*Kubelet) *[]string) definition {
	return definition{name, "strings", field, func(k *Kubelet, s string) error {
		*at(k) = nil
		for _, part := range strings.Split(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*at(k) = append(*at(k), part)
			}
		}
		return nil
	}}
}

// pairs reads key SEP value, comma-separated.
func pairs(name, field, sep string, at func(*Kubelet) *map[string]string) definition {
	return definition{name, "mapStringString", field, func(k *Kubelet, s string) error {
		m := map[string]string{}
		for _, part := range strings.Split(s, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			key, v, ok := strings.Cut(part, sep)
			if !ok {
				return fmt.Errorf("%q is not of the form KEY%sVALUE", part, sep)
			}
			m[strings.TrimSpace(key)] = strings.TrimSpace(v)
		}
		*at(k) = m
		return nil
	}}
}

// Taints reads key=value:effect, comma-separated.
func Taints(s string) ([]corev1.Taint, error) {
	var out []corev1.Taint
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		rest, effect, ok := strings.Cut(part, ":")
		key, v, _ := strings.Cut(rest, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid taint %q: want KEY=VALUE:EFFECT", part)
		}
		switch e := corev1.TaintEffect(effect); e {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
			out = append(out, corev1.Taint{Key: key, Value: v, Effect: e})
		default:
			return nil, fmt.Errorf("invalid taint effect %q: want NoSchedule, PreferNoSchedule or NoExecute", effect)
		}
	}
	return out, nil
}
