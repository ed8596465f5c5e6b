// Package chart holds the Helm chart, for xebecadm to install it without Helm.
package chart

import "embed"

// Files is the chart, below xebec/.
//
//go:embed all:xebec
var Files embed.FS
