package config

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// Suggest names the flag that an unknown one may have meant: " (did you mean
// --x?)", or nothing.
func Suggest(f *pflag.FlagSet, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	name := strings.TrimLeft(unknown.GetSpecifiedName(), "-")
	best, least := "", 4
	f.VisitAll(func(fl *pflag.Flag) {
		if d := distance(name, fl.Name); d < least {
			best, least = fl.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return " (did you mean --" + best + "?)"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
