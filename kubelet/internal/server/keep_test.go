package server
import (
_ "github.com/moby/spdystream"
_ "github.com/gorilla/websocket"
_ "golang.org/x/sys/unix"
_ "github.com/container-storage-interface/spec/lib/go/csi"
_ "sigs.k8s.io/yaml"
_ "github.com/spf13/pflag"
)
