package history

import "fmt"

// FailClosed is I7: an object that must exist is never "not found" nor
// missing in a list, and a refusal says when to come back.
func FailClosed(ops []Op) error {
	writes := writesByKey(ops)
	for _, o := range ops {
		switch {
		case (o.Code == 503 || o.Code == 429) && o.RetryAfter == "":
			return fmt.Errorf("I7: refused with %d and no Retry-After: %s", o.Code, o)
		case o.Verb == Get && o.Outcome == NotFound && mustExist(writes[o.Key], o):
			return fmt.Errorf("I7: an existing object was not found: %s", o)
		case o.Verb == List && o.Outcome == Done:
			items := stateOf(o.Items)
			for key, w := range writes {
				if _, ok := items[key]; !ok && mustExist(w, o) {
					return fmt.Errorf("I7: a list of %d objects lacks %s, which exists: %s", len(items), key, o)
				}
			}
		}
	}
	return nil
}

// mustExist: an acknowledged write made it before o began, and no deletion
// can have come between.
func mustExist(writes []Op, o Op) bool {
	for _, w := range writes {
		if w.Verb == Delete || w.Outcome != Done || w.Return >= o.Call {
			continue
		}
		if !deletable(writes, w, o) {
			return true
		}
	}
	return false
}

func deletable(writes []Op, w, o Op) bool {
	for _, d := range writes {
		if d.Verb == Delete && d.Call < o.Return && (d.Outcome == Unknown || d.Return > w.Call) {
			return true
		}
	}
	return false
}

// Sample is what a process holds.
type Sample struct {
	RSS        int64 // bytes
	Goroutines int
	Files      int
	Sockets    int // of the files
}

// Bounded is I8: after the fault the process holds what it held before, with
// a tenth and a little more to spare.
func Bounded(before, after Sample) error {
	const spareRSS, spareGoroutines, spareFiles = 64 << 20, 30, 10
	switch {
	case after.RSS > before.RSS+before.RSS/10+spareRSS:
		return fmt.Errorf("I8: %d MiB resident, were %d", after.RSS>>20, before.RSS>>20)
	case after.Goroutines > before.Goroutines+before.Goroutines/10+spareGoroutines:
		return fmt.Errorf("I8: %d goroutines, were %d", after.Goroutines, before.Goroutines)
	case after.Files > before.Files+before.Files/10+spareFiles:
		return fmt.Errorf("I8: %d open files, were %d", after.Files, before.Files)
	}
	return nil
}
