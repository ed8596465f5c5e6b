package auth

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"os"
	"strings"
)

// serverID is what a server on this machine calls itself.
func serverID() string {
	host, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256([]byte(host))
	return "apiserver-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// identity is the label apiserver_id_hash of metrics.
func identity() string { return hashOf(serverID()) }

// hashOf is a value as labels of metrics have it.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
