package batch

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestSchedule(t *testing.T) {
	utc := "UTC"
	for _, c := range []struct {
		schedule string
		zone     *string
		kept     bool
		want     string
	}{
		{"0 0 * * *", nil, false, ""},
		{"@every 1h30m", nil, false, ""},
		{"", nil, false, "p: Required value"},
		{"TZ=UTC", nil, false, `[p: Invalid value: "TZ=UTC": provided bad location UTC: no schedule after the time zone, p: Invalid value: "TZ=UTC": cannot use TZ or CRON_TZ in schedule, use timeZone field instead]`},
		{"CRON_TZ=", nil, false, `[p: Invalid value: "CRON_TZ=": provided bad location : no schedule after the time zone, p: Invalid value: "CRON_TZ=": cannot use TZ or CRON_TZ in schedule, use timeZone field instead]`},
		{"TZ=UTC 0 0 * * *", nil, true, ""},
		{"TZ=UTC 0 0 * * *", &utc, true, `p: Invalid value: "TZ=UTC 0 0 * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule`},
	} {
		if got := text(validateSchedule(c.schedule, c.zone, c.kept, field.NewPath("p"))); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.schedule, got, c.want)
		}
	}
}

func TestTimeZone(t *testing.T) {
	for zone, want := range map[string]string{
		"Etc/GMT+1":                      "",
		"America/Argentina/Buenos_Aires": "",
		"/etc/passwd":                    `p: Invalid value: "/etc/passwd": unknown time zone /etc/passwd`,
		"a//b":                           `p: Invalid value: "a//b": unknown time zone a//b`,
		"-a":                             `p: Invalid value: "-a": unknown time zone -a`,
		"abcdefghijklmno":                `p: Invalid value: "abcdefghijklmno": unknown time zone abcdefghijklmno`,
	} {
		if got := text(validateTimeZone(&zone, field.NewPath("p"))); got != want {
			t.Errorf("%q:\n got %s\nwant %s", zone, got, want)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"* * * * *", "@hourly", "TZ=", "TZ= ", "CRON_TZ=x y", "*/0 * * * *", "1-2-3 * * * *", "@every -1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { _, _ = ParseSchedule(s) })
}

func text(errs field.ErrorList) string {
	if err := errs.ToAggregate(); err != nil {
		return err.Error()
	}
	return ""
}
