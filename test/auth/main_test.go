package auth

import (
	"flag"
	"os"
	"testing"
)

// Most of the time here is spent waiting for what is remembered to be
// forgotten: more tests at once than there are processors take no more of them.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
