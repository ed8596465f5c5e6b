package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kube-proxy/internal/config"
	"xebec.dev/kube-proxy/internal/iptables"
)

const sysctls = "/proc/sys/net"

// prepare sets what of the kernel needs full rights. What can't be set in a
// container is told and left: the node may have it as it should be.
func prepare(cfg *config.Configuration, log *zap.Logger) error {
	settings := settingsOf(cfg, runtime.NumCPU())
	for _, s := range settings {
		if err := s.apply(); err != nil {
			log.Warn("a setting of the kernel can't be made", zap.String("setting", s.name), zap.Int("value", s.value), zap.Error(err))
		}
	}
	if err := tableSize(cfg, runtime.NumCPU(), hashsize); err != nil {
		log.Warn("the table of tracked connections keeps its size: large numbers of them are found slowly", zap.Error(err))
	}
	if adj := cfg.OOMScoreAdj; adj != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(int(*adj))), 0o644); err != nil {
			log.Warn("oomScoreAdj can't be set", zap.Error(err))
		}
	}
	for _, family := range []string{"ipv4/ip_forward"} {
		if on, err := os.ReadFile(filepath.Join(sysctls, family)); err == nil && strings.TrimSpace(string(on)) == "0" {
			log.Warn("the node does not forward packets: pods are not reached", zap.String("setting", "net."+strings.ReplaceAll(family, "/", ".")))
		}
	}
	return nil
}

// setting is a value below /proc/sys/net.
type setting struct {
	name  string // "netfilter/nf_conntrack_max"
	value int
	// raise leaves what is larger.
	raise bool
}

func settingsOf(cfg *config.Configuration, cores int) (out []setting) {
	c := &cfg.Conntrack
	if perCore := int(*c.MaxPerCore); perCore > 0 {
		out = append(out, setting{"netfilter/nf_conntrack_max", max(perCore*cores, int(*c.Min)), true})
	}
	seconds := func(name string, d *metav1.Duration) {
		if d != nil && d.Duration > 0 {
			out = append(out, setting{"netfilter/" + name, int(d.Duration / time.Second), false})
		}
	}
	if networks, _ := nodePortNetworks(cfg); cfg.Mode == config.ModeIPTables && *cfg.IPTables.LocalhostNodePorts && iptables.ServesLoopback(networks) {
		// Node ports at 127.0.0.1 lead out of the node; a rule keeps others away
		// from there.
		out = append(out, setting{"ipv4/conf/all/route_localnet", 1, false})
	}
	seconds("nf_conntrack_tcp_timeout_established", c.TCPEstablishedTimeout)
	seconds("nf_conntrack_tcp_timeout_close_wait", c.TCPCloseWaitTimeout)
	seconds("nf_conntrack_udp_timeout", &c.UDPTimeout)
	seconds("nf_conntrack_udp_timeout_stream", &c.UDPStreamTimeout)
	if c.TCPBeLiberal {
		out = append(out, setting{"netfilter/nf_conntrack_tcp_be_liberal", 1, false})
	}
	return out
}

func (s *setting) apply() error {
	file := filepath.Join(sysctls, s.name)
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	is, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err == nil && (is == s.value || s.raise && is > s.value) {
		return nil
	}
	return errors.Join(os.WriteFile(file, []byte(strconv.Itoa(s.value)), 0o644))
}

// hashsize is how many lists connections are kept in.
const hashsize = "/sys/module/nf_conntrack/parameters/hashsize"

// tableSize has a list for each four connections that may be, so that they
// are found at once. It is never made smaller.
func tableSize(cfg *config.Configuration, cores int, file string) error {
	perCore := int(*cfg.Conntrack.MaxPerCore)
	if perCore <= 0 {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	want := max(perCore*cores, int(*cfg.Conntrack.Min)) / 4
	if is, err := strconv.Atoi(strings.TrimSpace(string(raw))); err != nil || is >= want {
		return err
	}
	return os.WriteFile(file, []byte(strconv.Itoa(want)), 0o644)
}
