package main

// The modules whose packages are read must stay in go.mod.
import (
	_ "k8s.io/api/core/v1"
	_ "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	_ "xebec.dev/api/scheme"
)
