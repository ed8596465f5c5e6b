// Package framework is what plugins and the scheduler agree on: statuses, the
// extension points, cluster events and queueing hints.
//
// Filters and scores are compiled, not called: at PreFilter and PreScore a
// plugin turns a pod into a filter or score that holds for all pods like it,
// and that is then asked about nodes as they change, never about all nodes
// for each pod.
package framework

import (
	"fmt"
	"strings"
)

// Code is the kind of a status.
type Code int

// The codes; a nil *Status is Success.
const (
	Success Code = iota
	Error
	// Unschedulable: no, but evicting pods or waiting may help.
	Unschedulable
	// Unresolvable: no, and preemption can't help.
	Unresolvable
	Wait
	Skip
	// Pending: no, and an event will tell when: no backoff then.
	Pending
)

var codes = [...]string{"Success", "Error", "Unschedulable", "UnschedulableAndUnresolvable", "Wait", "Skip", "Pending"}

func (c Code) String() string { return codes[c] }

// Status is a plugin's verdict. Statuses of filters are made once, when the
// filter is compiled, and shared: they are not changed.
type Status struct {
	Code    Code
	Reasons []string
	// Plugin that said so.
	Plugin string
	Err    error
}

// NewStatus makes a status of a plugin.
func NewStatus(plugin string, code Code, reasons ...string) *Status {
	return &Status{Code: code, Reasons: reasons, Plugin: plugin}
}

// Errorf makes a status of an error.
func Errorf(plugin, format string, args ...any) *Status {
	err := fmt.Errorf(format, args...)
	return &Status{Code: Error, Reasons: []string{err.Error()}, Plugin: plugin, Err: err}
}

// Is reports whether the status has a code; nil is Success.
func (s *Status) Is(c Code) bool {
	if s == nil {
		return c == Success
	}
	return s.Code == c
}

// Rejected reports whether the verdict is no, rather than an error.
func (s *Status) Rejected() bool {
	return s.Is(Unschedulable) || s.Is(Unresolvable) || s.Is(Pending)
}

// Message is the reasons in one line.
func (s *Status) Message() string {
	if s == nil {
		return ""
	}
	return strings.Join(s.Reasons, ", ")
}

func (s *Status) String() string {
	if s == nil {
		return "Success"
	}
	return s.Code.String() + ": " + s.Message()
}
