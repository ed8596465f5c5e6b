#!/usr/bin/env bash
# Runs every fuzz target for some seconds each: tools/fuzz.sh [SECONDS].
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-10}
for m in api apiserver client; do
  (cd "$m" && grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u | while read -r dir; do
    grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/func //' | while read -r target; do
      echo "== $m $dir $target"
      go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s"
    done
  done)
done
