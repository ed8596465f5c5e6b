package updown

import (
	"bytes"
	"strings"
	"testing"

	"xebec.dev/deploy/cluster"
)

func TestWords(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "error: expected up, down",
		"frob":                                `error: "frob" is not known`,
		"--help":                              "xebec-up up ",
		"up --help":                           "",
		"up more":                             `error: up: "more": expected flags only`,
		"up --nodes -1":                       "error: -1 nodes: expected",
		"up --nodes 900":                      "error: 900 nodes: expected",
		"up --name X/..":                      `error: name "X/.." of the cluster: expected`,
		"down now":                            `error: down: "now": expected flags only`,
		"up --bin /none":                      "error: nothing was started: these programs are not in /none",
		"up --nodes 2 --subnet 10.244.1.0/24": "error: subnet 10.244.1.0/24 of the nodes: expected a range apart from 10.244.0.0/16",
	} {
		var out bytes.Buffer
		err := Run(t.Context(), strings.Fields(line), &out)
		got := out.String()
		if err != nil {
			got = "error: " + err.Error()
		}
		if !strings.HasPrefix(got, want) || strings.Contains(got, "What is there stays") {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestCommandThatUndoes(t *testing.T) {
	for want, o := range map[string]cluster.Options{
		"make down":                                         {Nodes: 1},
		"make down UPFLAGS='--name two'":                    {Nodes: 2, Name: "two"},
		"make down UPFLAGS='--root /tmp/here'":              {Nodes: 1, Root: "/tmp/here"},
		"make down UPFLAGS='--name two --root /tmp/there'":  {Nodes: 1, Name: "two", Root: "/tmp/x/../there"},
		"make down UPFLAGS='--name three --root /tmp/node'": {Name: "three", Root: "/tmp/node", Address: "127.0.0.1"},
	} {
		c, err := cluster.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := undo(o, c); got != want {
			t.Errorf("%s: expected %s", got, want)
		}
	}
}
