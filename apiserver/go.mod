module xebec.dev/apiserver

go 1.26.0

require xebec.dev/api v0.0.0

require (
	github.com/google/uuid v1.6.0 // indirect
	k8s.io/apimachinery v0.37.2 // indirect
)

replace xebec.dev/api => ../api

replace xebec.dev/client => ../client

replace xebec.dev/proto => ../proto
