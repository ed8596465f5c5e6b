package encode

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Media is a serialization.
type Media uint8

const (
	JSON Media = iota
	YAML
	Protobuf
)

// Shape is what is shown of an object.
type Shape uint8

const (
	// Whole is the object itself.
	Whole Shape = iota
	// Table is rows of cells for people (as=Table).
	Table
	// Partial is an object's metadata (as=PartialObjectMetadata).
	Partial
	// PartialList is the metadata of a list's objects.
	PartialList
	// Discovery is aggregated discovery (as=APIGroupDiscoveryList).
	Discovery
)

// Include is what a Table's rows carry beside the cells.
type Include uint8

const (
	IncludeMetadata Include = iota
	IncludeNone
	IncludeObject
)

// Format says how an answer looks. The zero value is plain JSON. It is
// comparable: equal formats give equal bytes.
type Format struct {
	Media Media
	Shape Shape
	// Beta is meta.k8s.io/v1beta1 for Table and Partial shapes.
	Beta bool
	// Pretty indents JSON.
	Pretty bool
	// Include is for tables, from the includeObject parameter.
	Include Include
	// NoColumns leaves out a table's columns: events of a watch after the first.
	NoColumns bool
	// Stream is set for a watch.
	Stream bool
}

// Content types as they are answered.
const (
	TypeJSON     = "application/json"
	TypeYAML     = "application/yaml"
	TypeProtobuf = "application/vnd.kubernetes.protobuf"
)

// ContentType is the Content-Type header of an answer in this format.
func (f Format) ContentType() string {
	if f.Shape == Discovery {
		media := TypeJSON
		if f.Media == Protobuf {
			media = TypeProtobuf
		}
		return media + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	}
	switch f.Media {
	case YAML:
		return TypeYAML
	case Protobuf:
		if f.Stream {
			return TypeProtobuf + ";stream=watch"
		}
		return TypeProtobuf
	}
	return TypeJSON
}

// key tells formats apart in a Memo.
func (f Format) key() uint64 {
	k := uint64(f.Media) | uint64(f.Shape)<<4 | uint64(f.Include)<<8
	for i, b := range [...]bool{f.Beta, f.Pretty, f.NoColumns} {
		if b {
			k |= 1 << (12 + i)
		}
	}
	return k
}

// ParseInclude reads the includeObject parameter. The error is a 400.
func ParseInclude(s string) (Include, error) {
	switch s {
	case "", "Metadata":
		return IncludeMetadata, nil
	case "None":
		return IncludeNone, nil
	case "Object":
		return IncludeObject, nil
	}
	err := field.Invalid(field.NewPath("includeObject"), s, "must be 'Metadata', 'Object', 'None', or empty")
	return 0, apierrors.NewBadRequest("Unable to convert to Table as requested: " + err.Error())
}

// PrettyFor reports whether JSON is indented for a client: the pretty
// parameter decides, and without one it is for browsers, curl and wget.
func PrettyFor(pretty []string, userAgent string) bool {
	if len(pretty) > 0 {
		yes, _ := strconv.ParseBool(pretty[0])
		return yes
	}
	for _, prefix := range [...]string{"curl", "Wget", "Mozilla/5.0"} {
		if strings.HasPrefix(userAgent, prefix) {
			return true
		}
	}
	return false
}
