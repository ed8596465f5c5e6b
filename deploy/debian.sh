#!/bin/sh
# debian.sh PACKAGE FILE OUT: takes one file out of a Debian package without
# installing it, in place of a program that could not be built here.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo "$3 could not be built: taking Debian's package $1" >&2
(cd "$dir" && { apt-get download -q "$1" || { apt-get update -qq && apt-get download -q "$1"; }; } >/dev/null && dpkg -x ./*.deb .)
cp "$dir/$2" "$3"
