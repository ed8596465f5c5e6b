// Package identity is what a server calls itself in metrics and in the lease
// by which the others of the cluster know it.
package identity

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"os"
	"strings"
	"sync"
)

// ID names the server on this machine: the same after a restart.
var ID = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return of(host)
})

func of(host string) string {
	sum := sha256.Sum256([]byte(host))
	return "apiserver-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// Hash is the ID as the label apiserver_id_hash has it.
var Hash = sync.OnceValue(func() string { return HashOf(ID()) })

// HashOf hides a value that metrics must tell from others.
func HashOf(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
