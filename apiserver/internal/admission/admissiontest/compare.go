package admissiontest

import (
	"reflect"
	"strings"
)

func sameType(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }

func hasSuffix(s, suffix string) bool { return strings.HasSuffix(s, suffix) }
