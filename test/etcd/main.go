// Command etcd is etcd, built from its own server module: the store that the
// tests and benchmarks run beside the apiserver.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
