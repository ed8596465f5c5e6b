package cronjob

import (
	"time"
)

// schedule tells the first moment after another.
type schedule interface{ Next(time.Time) time.Time }

// manyMissed is from how many missed moments on a person is told.
const manyMissed = 100

// latest is the last moment of a schedule after since, not later than now;
// zero when there was none. missed counts those moments, up to manyMissed+1.
func latest(s schedule, since, now time.Time) (at time.Time, missed int) {
	for t := s.Next(since); !t.IsZero() && !t.After(now); t = s.Next(t) {
		at = t
		if missed++; missed > manyMissed {
			return last(s, t, now), missed
		}
	}
	return at, missed
}

// last finds the latest moment from far back: it looks at windows before now,
// each twice as long as the one before, until one has a moment in it.
func last(s schedule, since, now time.Time) time.Time {
	for window := time.Minute; ; window *= 2 {
		from := now.Add(-window)
		if from.Before(since) {
			from = since
		}
		at := since
		for t := s.Next(from); !t.IsZero() && !t.After(now); t = s.Next(t) {
			at = t
		}
		if at.After(since) || !from.After(since) {
			return at
		}
	}
}
