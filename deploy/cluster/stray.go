package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// nothing tells that no node is there, unless it is elsewhere. A bridge that no
// record tells of would be in everybody's way for ever: it goes when nothing
// lives in it.
func (c *Cluster) nothing() error {
	if !c.linked() {
		c.Progress.Done("nothing to take away: `make up` has made no node of a cluster %q at %s", c.Name, c.Root)
		return nil
	}
	at, usual := c.Root, usualRoot(c.Name)
	if c.Nodes == 0 && !c.nodes[0].root.Own() {
		at = usual
	}
	there, err := membersThere(usual)
	if err != nil {
		return err
	}
	if at != usual || there > 0 {
		return fmt.Errorf("cluster %q, whose link is %s, has no node below %s: expected the --root that it was brought up with", c.Name, c.bridge(), at)
	}
	spaces, err := c.namespaces()
	if err != nil {
		return err
	}
	lives, err := c.lives(spaces)
	if err != nil {
		return err
	}
	if len(lives) > 0 {
		return fmt.Errorf("cluster %q, whose link is %s, has no node below %s, and is in use: %s. Expected the --root that it was brought up with",
			c.Name, c.bridge(), at, strings.Join(lives, ", "))
	}
	return c.removeStray(spaces)
}

// removeStray removes the bridge last: by it the others are found again.
func (c *Cluster) removeStray(spaces []string) error {
	var errs []error
	for _, s := range spaces {
		errs = append(errs, c.detach(&Node{Name: strings.TrimPrefix(s, c.Name+"-"), NetNS: s}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := removeLink(c.bridge()); err != nil {
		return err
	}
	c.Progress.Done("link %s, which no node was at, removed, and namespaces: %d", c.bridge(), len(spaces))
	return nil
}

// nodeNames matches the names of the cluster's namespaces and cables.
func (c *Cluster) nodeNames() *regexp.Regexp {
	return regexp.MustCompile("^" + c.Name + "-n[0-9]{1,3}$")
}

// namespaces are the names of those that the cluster's nodes have.
func (c *Cluster) namespaces() ([]string, error) {
	all, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range all {
		if c.nodeNames().MatchString(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// lives are what is at the bridge and may be somebody's: processes in the
// namespaces, and links that are not their cables.
func (c *Cluster) lives(spaces []string) ([]string, error) {
	bridge := "/sys/class/net/" + c.bridge()
	if _, err := os.Stat(bridge + "/bridge"); err != nil {
		return []string{"it is no bridge"}, nil
	}
	ports, err := os.ReadDir(bridge + "/brif")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range ports {
		// One whose namespace has lost its name is kept by what runs there.
		if !slices.Contains(spaces, p.Name()) {
			out = append(out, "link "+p.Name())
		}
	}
	for _, s := range spaces {
		pids, err := within("/run/netns/" + s)
		if err != nil {
			return nil, err
		}
		if len(pids) > 0 {
			out = append(out, fmt.Sprintf("process %d in namespace %s", pids[0], s))
		}
	}
	return out, nil
}

// within are the processes whose network is a namespace's.
func within(file string) ([]int, error) {
	var space, of syscall.Stat_t
	if err := syscall.Stat(file, &space); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, p := range all {
		if syscall.Stat(p+"/ns/net", &of) != nil || of.Dev != space.Dev || of.Ino != space.Ino {
			continue // another's, or it has ended
		}
		if pid, err := strconv.Atoi(filepath.Base(p)); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}
