package updown

import (
	"bytes"
	"strings"
	"testing"
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
	for name, want := range map[string]string{"xebec": "make down", "two": "make down UPFLAGS='--name two'"} {
		if got := undo(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
