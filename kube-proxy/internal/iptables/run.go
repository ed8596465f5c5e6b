package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// wait is how many seconds the programs wait for each other.
const wait = "5"

// limit is how long a program may take: rules by the hundred thousand take
// minutes in old kernels.
const limit = 10 * time.Minute

// runner runs a program with an input and gives its output.
type runner func(input, name string, args ...string) (string, error)

func program(v4 bool, suffix string) string {
	if v4 {
		return "iptables" + suffix
	}
	return "ip6tables" + suffix
}

// Available tells whether the programs are there, and names those that are not.
func Available() error {
	var missing []string
	for _, v4 := range []bool{true, false} {
		if !v4 && !ipv6() {
			continue
		}
		for _, suffix := range []string{"", "-save", "-restore"} {
			if _, err := exec.LookPath(program(v4, suffix)); err != nil {
				missing = append(missing, program(v4, suffix))
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("mode iptables runs programs that are not in $PATH: %s; install Debian's package iptables, or take the mode nftables, which needs none", strings.Join(missing, ", "))
	}
	return nil
}

func execute(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	var out, wrong bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &wrong
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, fmt.Errorf("not done after %v", limit))
		}
		said := strings.TrimSpace(wrong.String())
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, said[max(0, len(said)-1000):])
	}
	return out.String(), nil
}
