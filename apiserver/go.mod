module xebec.dev/apiserver

go 1.26.0

require xebec.dev/api v0.0.0

require k8s.io/apimachinery v0.37.2 // indirect

replace xebec.dev/api => ../api

replace xebec.dev/client => ../client

replace xebec.dev/proto => ../proto
