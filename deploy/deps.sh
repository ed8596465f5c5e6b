#!/bin/sh
# Installs what building and running a node needs from Debian, when it is missing:
# libseccomp's headers and static library and a C compiler (runc), busybox-static (the
# test image), iproute2 (node namespaces); systemd checks units in tests, nft lists kube-proxy's tables there.
set -eu
want=""
have() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
for p in gcc libc6-dev libseccomp-dev pkg-config busybox-static iproute2 ca-certificates systemd nftables; do
	have "$p" || want="$want $p"
done
[ -n "$want" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "missing packages:$want; install them as root: apt-get install$want" >&2; exit 1; }
echo "installing$want"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
