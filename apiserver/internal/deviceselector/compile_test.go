package deviceselector

import (
	"strings"
	"testing"
)

func TestCompile(t *testing.T) {
	const tooCostly = "too costly"
	inner := "device.attributes.all(d, device.attributes[d].all(n, device.attributes[d][n] == 'x'))"
	for source, want := range map[string]string{
		"device.driver == 'd' && device.attributes['d'].x > 1":                    "",
		"device.capacity['d.example.com'].memory.isGreaterThan(quantity('1Gi'))":  "",
		"device.attributes['d'].version.isGreaterThan(semver('1.0.0'))":           "",
		"device.allowMultipleAllocations == true":                                 "",
		"device.attributes['d'].?x.orValue(false)":                                "",
		"has(device.attributes['d'].x)":                                           "",
		"device.attributes['d'].x":                                                "",
		"cel.bind(d, device.attributes['d'], d.a && d.b)":                         "",
		"device.attributes['d'].x.lowerAscii().matches('^a')":                     "",
		"isIP(device.attributes['d'].x) && ip('::1').isLoopback()":                "",
		"device.attributes.exists(d, d.startsWith('x'))":                          "",
		"sets.contains([1], [1]) && [1, 2].sum() == 3 && [3, 1].sort() == [1, 3]": "",
		"[1].indexOf(1) == 0 && isURL('https://x')":                               "",
		inner: "",
		"device.attributes.all(a, " + inner + ")": "",

		"1":                          "must evaluate to bool or the unknown type, not int",
		"device":                     "must evaluate to bool or the unknown type, not kubernetes.DRADevice",
		"device.capacity['d'].x":     "must evaluate to bool or the unknown type, not kubernetes.Quantity",
		"device.attributes['d']":     "must evaluate to bool or the unknown type, not map(string, google.protobuf.Any)",
		"device.driver == 1":         "compilation failed: ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(string, int)'\n | device.driver == 1\n | ..............^",
		"device.nope == 'x'":         "compilation failed: ERROR: <input>:1:7: undefined field 'nope'",
		"foo.bar":                    "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo'",
		"device.driver ==":           "compilation failed: ERROR: <input>:1:17: Syntax error",
		"":                           "compilation failed: ERROR: <input>:1:0: Syntax error",
		"device.driver.matches('(')": "compilation failed: ERROR: <input>:1:23: invalid matches argument",
		// Not before the next version.
		"device.attributes['d'].models.includes('m')": "compilation failed: ERROR: <input>:1:39: undeclared reference to 'includes'",

		// 32 domains times 32 names times 32 more is within the limit; 32 times that is not.
		"device.attributes.all(a, device.attributes.all(b, " + inner + "))":    tooCostly,
		"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, a == b))": "",
	} {
		fault := Compile(source, false)
		switch {
		case fault == nil && want == "":
		case fault == nil:
			t.Errorf("%s: no fault, want %s", source, want)
		case fault.TooCostly:
			if want != tooCostly {
				t.Errorf("%s: too costly, want %q", source, want)
			}
		case want == "" || !strings.HasPrefix(fault.Message, want):
			t.Errorf("%s: %s, want %q", source, fault.Message, want)
		}
	}
}

// What is stored stays valid when it costs more than it did, and may use the
// newest functions.
func TestStored(t *testing.T) {
	for _, source := range []string{
		"device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a == d))))",
		"['m'].includes('m')",
	} {
		if Compile(source, false) == nil {
			t.Errorf("%s: fine when new", source)
		}
		if f := Compile(source, true); f != nil {
			t.Errorf("%s: %+v", source, f)
		}
	}
}
