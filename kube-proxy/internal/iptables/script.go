package iptables

import (
	"fmt"
	"strings"
)

// script is what iptables-restore reads. Each table is one transaction, and
// chains that are not in it stay as they are.
type script struct {
	tables [3]tableScript
}

// order of tables: who is refused no more must find where to go.
var order = [3]string{mangle, nat, filter}

func newScript() *script {
	s := &script{}
	for i, name := range order {
		s.tables[i].name = name
	}
	return s
}

func (s *script) table(name string) *tableScript {
	for i := range s.tables {
		if s.tables[i].name == name {
			return &s.tables[i]
		}
	}
	panic("iptables: there is no table " + name)
}

func (s *script) empty() bool {
	for i := range s.tables {
		if s.tables[i].chains.Len() > 0 {
			return false
		}
	}
	return true
}

// chains is how many are written or removed.
func (s *script) chains() (n int) {
	for i := range s.tables {
		n += s.tables[i].named
	}
	return n
}

// add appends what another script does.
func (s *script) add(more *script) {
	for i := range s.tables {
		s.tables[i].add(&more.tables[i])
	}
}

// packed are scripts to be run one after the other, each of as many of the
// parts as have no more chains than most together; all are one when most is 0.
func packed(parts []*script, most int) []*script {
	all := []*script{newScript()}
	for _, p := range parts {
		last := all[len(all)-1]
		if most > 0 && !last.empty() && last.chains()+p.chains() > most {
			last = newScript()
			all = append(all, last)
		}
		last.add(p)
	}
	return all
}

// String is the script; tables without a change are left out.
func (s *script) String() string {
	var b strings.Builder
	for i := range s.tables {
		t := &s.tables[i]
		if t.chains.Len() == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n%s%s%sCOMMIT\n", t.name, t.chains.String(), t.rules.String(), t.drops.String())
	}
	return b.String()
}

type tableScript struct {
	name                 string
	chains, rules, drops strings.Builder
	named, written       int // chains, rules
}

func (t *tableScript) add(more *tableScript) {
	t.chains.WriteString(more.chains.String())
	t.rules.WriteString(more.rules.String())
	t.drops.WriteString(more.drops.String())
	t.named += more.named
	t.written += more.written
}

// begin makes a chain, or empties it.
func (t *tableScript) begin(chain string) {
	fmt.Fprintf(&t.chains, ":%s - [0:0]\n", chain)
	t.named++
}

// write makes a chain, or replaces its rules.
func (t *tableScript) write(c *chain) {
	t.begin(c.name)
	for _, r := range c.rules {
		t.rule(c.name, r)
	}
}

func (t *tableScript) rule(chain, rule string) {
	fmt.Fprintf(&t.rules, "-A %s %s\n", chain, rule)
	t.written++
}

// lead puts a jump before all other rules of a chain of the kernel's.
func (t *tableScript) lead(j *jump) {
	fmt.Fprintf(&t.rules, "-I %s %s\n", j.from, j.rule())
	t.written++
}

// drop removes a chain, which nothing must lead to any more.
func (t *tableScript) drop(name string) {
	t.begin(name)
	fmt.Fprintf(&t.drops, "-X %s\n", name)
}

// saved is what iptables-save prints, as far as it is needed.
type saved struct {
	chains map[string][]string // by table
	rules  map[string][]string // "-A CHAIN …" of the kernel's chains that lead to ours
}

func parseSaved(text string) *saved {
	s := &saved{map[string][]string{}, map[string][]string{}}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			s.chains[table] = append(s.chains[table], name)
		case strings.HasPrefix(line, "-A ") && !strings.HasPrefix(line, "-A KUBE-"):
			if at := strings.LastIndex(line, " -j KUBE-"); at >= 0 {
				s.rules[table] = append(s.rules[table], line)
			}
		}
	}
	return s
}

// has tells whether a jump is there, whatever it matches: no two of ours lead
// from one chain to another.
func (s *saved) has(j *jump) bool {
	for _, r := range s.rules[j.table] {
		if strings.HasPrefix(r, "-A "+j.from+" ") && strings.HasSuffix(r, " -j "+j.to) {
			return true
		}
	}
	return false
}
