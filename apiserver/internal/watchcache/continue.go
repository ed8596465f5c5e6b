package watchcache

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	pathpkg "path"
	"strings"

	"xebec.dev/apiserver/internal/storage"
)

// token is Kubernetes' continue token: the revision of the list and the first
// key of the next page, below the listed collection.
type token struct {
	Version  string `json:"v"`
	Revision int64  `json:"rv"`
	Start    string `json:"start"`
}

const tokenVersion = "meta.k8s.io/v1"

// newest as a token's revision goes on from its key in the newest state.
const newest = -1

// encodeContinue makes the token for what comes after an object.
func encodeContinue(namespace string, last *storage.Object, revision int64) string {
	start := last.Name
	if namespace == "" {
		start = path(last.Namespace, last.Name)
	}
	return encodeToken(start+"\x00", revision)
}

func encodeToken(start string, revision int64) string {
	b, err := json.Marshal(token{tokenVersion, revision, start})
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeContinue(s, namespace string, namespaced bool) (key, int64, error) {
	invalid := func(format string, args ...any) (key, int64, error) {
		return key{}, 0, fmt.Errorf("%w: "+format, append([]any{storage.ErrInvalidContinue}, args...)...)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return invalid("%w", err)
	}
	var t token
	if err := json.Unmarshal(b, &t); err != nil {
		return invalid("%w", err)
	}
	if t.Version != tokenVersion {
		return invalid("server does not recognize this encoded version %v", t.Version)
	}
	if t.Revision == 0 {
		return invalid("incorrect encoded start resourceVersion (version %s)", tokenVersion)
	}
	if t.Start == "" {
		return invalid("encoded start key empty (version %s)", tokenVersion)
	}
	// Older servers' tokens begin with the slash of the path.
	t.Start = strings.TrimPrefix(t.Start, "/")
	// A path that leads elsewhere would read other collections.
	if start := "/" + t.Start; pathpkg.Clean(start) != start {
		return invalid("%s", t.Start)
	}
	k := key{namespace: namespace, name: t.Start}
	if namespace == "" && namespaced {
		if ns, name, ok := strings.Cut(t.Start, "/"); ok {
			k = key{namespace: ns, name: name}
		}
	}
	return k, t.Revision, nil
}
