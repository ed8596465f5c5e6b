#!/usr/bin/env bash
# Runs tests; what fails is run once more, by name, and what fails twice fails,
# as does what the race detector finds. The first arguments are the module's
# directory and a limit of time for all of it; -sweep takes away what killed
# runs of tests with containers have left:
#   tools/again.sh test 12m -sweep -p=1 -short ./kubelet/... ./e2e
# Ends with 0: passed; 1: failed twice, or once when there was no time to see it
# again; 3: the time was up before anything had failed.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 MODULE LIMIT [-sweep] [FLAG OF GO TEST...] PACKAGE..." >&2
  exit 2
fi
module=$1 limit=$2
shift 2
cd "$(dirname "$0")/.."
# Built, for `go run` hides how a program ended.
program=$(mktemp)
trap 'rm -f "$program"' EXIT
(cd test && unset GOWORK && CGO_ENABLED=0 go build -o "$program" ./again)
cd "$module"
code=0
"$program" -limit "$limit" "$@" || code=$?
exit "$code"
