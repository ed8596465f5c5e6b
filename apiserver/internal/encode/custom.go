package encode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"xebec.dev/api/codec"
	"xebec.dev/apiserver/internal/storage"
)

// appendCustom appends a custom resource: its JSON with a resourceVersion put
// into the metadata. JSON of another version than the one served gets its own
// apiVersion replaced.
func (e *Encoder) appendCustom(dst []byte, o *storage.Object, revision int64) ([]byte, error) {
	at, ok := e.metadataAt(o.Raw)
	if !ok {
		return e.appendReplaced(dst, o, revision)
	}
	dst = append(dst, o.Raw[:at]...)
	dst = append(dst, `"resourceVersion":"`...)
	dst = strconv.AppendInt(dst, revision, 10)
	dst = append(dst, '"')
	if o.Raw[at] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, o.Raw[at:]...), nil
}

// metadataAt is where the first member of an object's metadata begins. It is
// false when the object cannot be shown with an insertion alone: it is of
// another version, or has a resourceVersion, or its JSON is not compact.
func (e *Encoder) metadataAt(raw []byte) (at int, ok bool) {
	var hasKind, hasVersion, hasMetadata bool
	whole := codec.Members(raw, func(name []byte, start, end int) bool {
		value := raw[start:end]
		switch string(name) {
		case `"apiVersion"`:
			hasVersion = quotedEquals(value, e.apiVersion)
		case `"kind"`:
			hasKind = quotedEquals(value, e.kind)
		case `"metadata"`:
			if len(value) < 2 || value[0] != '{' {
				return false
			}
			at, hasMetadata = start+1, true
			return codec.Members(value, func(name []byte, _, _ int) bool { return string(name) != `"resourceVersion"` })
		}
		return true
	})
	return at, whole && hasKind && hasVersion && hasMetadata
}

func quotedEquals(quoted []byte, s string) bool {
	return len(quoted) == len(s)+2 && string(quoted[1:len(quoted)-1]) == s
}

func (e *Encoder) appendReplaced(dst []byte, o *storage.Object, revision int64) ([]byte, error) {
	content := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(o.Raw))
	d.UseNumber()
	if err := d.Decode(&content); err != nil {
		return dst, fmt.Errorf("decode stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	u := unstructured.Unstructured{Object: content}
	u.SetAPIVersion(e.apiVersion)
	u.SetKind(e.kind)
	u.SetResourceVersion(strconv.FormatInt(revision, 10))
	b, err := json.Marshal(content)
	return append(dst, b...), err
}
