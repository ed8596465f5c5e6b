package batch

import (
	"fmt"
	"strings"
	"time"
	// Time zones have to be known on systems that have no database of them.
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ParseSchedule reads a cron schedule of five fields or a descriptor such as
// "@hourly". A zone in the schedule itself ("TZ=…") is still understood: cron
// jobs of older servers have it.
func ParseSchedule(schedule string) (cron.Schedule, error) {
	if zone, inside := strings.CutPrefix(strings.TrimPrefix(schedule, "CRON_"), "TZ="); inside && !strings.Contains(zone, " ") {
		// The parser would index past the end.
		return nil, fmt.Errorf("provided bad location %s: no schedule after the time zone", zone)
	}
	return cron.ParseStandard(schedule)
}

// hasZone is true for a schedule that names its time zone.
func hasZone(schedule string) bool { return strings.Contains(schedule, "TZ") }

// validateSchedule checks the schedule; mayHaveZone is true on update of one
// that had a zone.
func validateSchedule(schedule string, zone *string, mayHaveZone bool, path *field.Path) field.ErrorList {
	if schedule == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if _, err := ParseSchedule(schedule); err != nil {
		errs = append(errs, field.Invalid(path, schedule, err.Error()))
	}
	switch {
	case !hasZone(schedule):
	case !mayHaveZone:
		errs = append(errs, field.Invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case zone != nil:
		errs = append(errs, field.Invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

// maxZonePart is the longest part of a zone's name between slashes.
const maxZonePart = 14

func validateTimeZone(zone *string, path *field.Path) field.ErrorList {
	if zone == nil {
		return nil
	}
	z := *zone
	if z == "" {
		return field.ErrorList{field.Invalid(path, z, "timeZone must be nil or non-empty string")}
	}
	for part := range strings.SplitSeq(z, "/") {
		if !isZonePart(part) {
			return field.ErrorList{field.Invalid(path, z, "unknown time zone "+z)}
		}
	}
	var errs field.ErrorList
	if strings.EqualFold(z, "Local") {
		errs = append(errs, field.Invalid(path, z, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(z); err != nil {
		errs = append(errs, field.Invalid(path, z, err.Error()))
	}
	return errs
}

// isZonePart keeps names out that would walk the file system.
func isZonePart(part string) bool {
	if part == "" || part == "." || part == ".." || part[0] == '-' || len(part) > maxZonePart {
		return false
	}
	for i := range len(part) {
		switch c := part[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_', c == '+':
		default:
			return false
		}
	}
	return true
}
