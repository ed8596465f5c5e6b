module xebec.dev/kube-proxy

go 1.26.0

require (
	xebec.dev/api v0.0.0
	xebec.dev/client v0.0.0
	xebec.dev/proto v0.0.0
)

replace (
	xebec.dev/api => ../api
	xebec.dev/client => ../client
	xebec.dev/proto => ../proto
)
