package decode

import (
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/builtin"
)

// hostile are bodies of the greatest length that cost their reader the most.
var hostile = []struct{ name, contentType, body string }{
	{"lists in lists", "", `{"metadata":` + strings.Repeat("[", MaxBody-20)},
	{"closed lists", "", `{"spec":` + strings.Repeat("[", MaxBody/2-20) + strings.Repeat("]", MaxBody/2-20) + "}"},
	{"deep unknown objects", "", strings.Repeat(`{"a":`, 9990) + "1" + strings.Repeat("}", 9990)},
	{"too deep", "", strings.Repeat(`{"a":`, MaxBody/6) + "1" + strings.Repeat("}", MaxBody/6)},
	{"deep fields", "", `{"metadata":{"managedFields":[{"fieldsV1":` + strings.Repeat(`{"a":`, MaxBody/7) + "1" + strings.Repeat("}", MaxBody/7) + "}]}}"},
	{"many unknown", "", "{" + strings.Repeat(`"a":1,`, MaxBody/6-2) + `"b":1}`},
	{"many different", "", `{"data":{` + numbered(200000) + `"b":"1"}}`},
	{"many escapes", "", `{"data":{"a":"` + strings.Repeat(`\u0000`, MaxBody/6-10) + `"}}`},
	{"spaces", "", strings.Repeat(" ", MaxBody-2) + "{}"},
	{"elements", "", `{"metadata":{"finalizers":[` + strings.Repeat(`"",`, MaxBody/3-20) + `""]}}`},
	{"YAML depth", mediaYAML, strings.Repeat("[", MaxBody)},
	{"YAML maps", mediaYAML, strings.Repeat("{a: ", MaxBody/4)},
	{"YAML dashes", mediaYAML, strings.Repeat("- ", MaxBody/2)},
	{"YAML questions", mediaYAML, strings.Repeat("? ", MaxBody/2)},
	{"YAML colons", mediaYAML, strings.Repeat("a:\n ", MaxBody/4)},
	{"YAML indents", mediaYAML, indents(2000)},
	{"YAML list", mediaYAML, "data: [" + strings.Repeat("a,", MaxBody/2-20) + "a]"},
	{"YAML bomb", mediaYAML, bomb(20)},
	{"YAML wide bomb", mediaYAML, "a: &a [" + strings.Repeat("x,", 50000) + "]\nb: [" + strings.Repeat("*a,", 50000) + "]"},
	{"YAML merge", mediaYAML, "a: &a {b: c}\nd:\n  <<: [" + strings.Repeat("*a,", 500000) + "]"},
	{"YAML anchors", mediaYAML, strings.Repeat("- &a b\n", MaxBody/8)},
	{"YAML tags", mediaYAML, strings.Repeat("- !!binary aa\n", MaxBody/15)},
	{"protobuf zeros", mediaProtobuf, "k8s\x00" + strings.Repeat("\x00", MaxBody-4)},
	{"protobuf empty messages", mediaProtobuf, "k8s\x00\x0a\x0b\x0a\x02v1\x12\x05\x43\x6f\x6e\x66\x67\x12" + "\x80\x80\xa0\x01" + strings.Repeat("\x0a\x00", MaxBody/2-20)},
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"k`)
		for ; i > 0; i /= 26 {
			b.WriteByte('a' + byte(i%26))
		}
		b.WriteString(`":"",`)
	}
	return b.String()
}

func indents(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// bomb is YAML whose aliases multiply.
func bomb(levels int) string {
	s := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < levels; i++ {
		name, last := string(rune('a'+i)), "*a0"
		if i > 1 {
			last = "*" + string(rune('a'+i-1))
		}
		s += name + ": &" + name + " [" + strings.Repeat(last+",", 10) + "]\n"
	}
	return s
}

func TestHostileBodies(t *testing.T) {
	res, _ := builtin.Scheme().At(corev1.SchemeGroupVersion.WithResource("configmaps"))
	for _, c := range hostile {
		for _, validation := range []string{Ignore, Strict} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, warnings, err := Body(res, c.contentType, []byte(c.body), validation)
			elapsed := time.Since(start)
			runtime.ReadMemStats(&after)
			text := ""
			if err != nil {
				text = err.Error()
			}
			t.Logf("%s %s: %v, %d MB allocated, %d warnings, %.150s", c.name, validation, elapsed.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, len(warnings), text)
			// Allocation is the measure of work that a busy machine does not change.
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 2048 {
				t.Errorf("%s %s allocated %d MB", c.name, validation, mb)
			}
			if len(text) > 20000 {
				t.Errorf("%s %s: an error of %d bytes", c.name, validation, len(text))
			}
		}
	}
}
