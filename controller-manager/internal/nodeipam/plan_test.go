package nodeipam

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPlan reads lines "pools CIDR V4 V6", "taken OWNER CIDR", "gone OWNER"
// and "node NAME"; each node's networks, or the error, are a line.
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		var out strings.Builder
		have := taken{owners: map[netip.Prefix]string{}}
		var from []*pool
		for _, line := range in {
			words := strings.Fields(line)
			var err error
			switch words[0] {
			case "pools":
				v4, _ := strconv.Atoi(words[2])
				v6, _ := strconv.Atoi(words[3])
				from, err = pools(words[1], v4, v6)
			case "taken":
				have.add(words[1], parse(words[2:])...)
			case "gone":
				have.remove(words[1])
			case "node":
				var parts []netip.Prefix
				if parts, err = plan(from, &have, words[1]); err == nil {
					out.WriteString(words[1])
					for _, p := range parts {
						out.WriteString(" " + p.String())
					}
					out.WriteByte('\n')
				}
			}
			if err != nil {
				out.WriteString(err.Error() + "\n")
			}
		}
		return out.String()
	})
}
