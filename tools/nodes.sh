#!/usr/bin/env bash
# Runs the tests that run containers; what fails is run once more, by name, and
# what fails twice fails. The first argument is a limit of time for all of it:
#   tools/nodes.sh 12m -short ./kubelet/... ./e2e
# Ends with 0: passed; 1: failed twice; 3: the time was up before anything had
# failed twice.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 LIMIT [FLAG OF GO TEST...] PACKAGE..., packages as seen from test/" >&2
  exit 2
fi
limit=$1
shift
cd "$(dirname "$0")/../test"
# Built, for `go run` hides how a program ended.
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -o "$program" ./nodes
code=0
"$program" -limit "$limit" -count=1 -p=1 -timeout=1h "$@" || code=$?
exit "$code"
