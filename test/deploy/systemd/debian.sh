#!/usr/bin/env bash
# A Debian 12 with systemd in CACHE/root, and with "kernel" one to boot in
# CACHE/kernel. Done once.
#   debian.sh CACHE [kernel]
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
cache=$1
want=
command -v debootstrap >/dev/null || want="$want debootstrap"
command -v depmod >/dev/null || want="$want kmod"
if [ -n "$want" ]; then
  # shellcheck disable=SC2086
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
fi
if [ ! -e "$cache/root/.complete" ]; then
  echo "a Debian with systemd, once"
  rm -rf "$cache/root"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,dbus,iproute2,nftables,kmod,procps,curl,busybox-static bookworm "$cache/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$cache/debootstrap.log" 2>&1 ||
    { tail "$cache/debootstrap.log"; exit 1; }
  touch "$cache/root/.complete"
fi
if [ "${2:-}" = kernel ] && [ ! -e "$cache/kernel/.complete" ]; then
  rm -rf "$cache/kernel"
  mkdir -p "$cache/kernel"
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/linux-image-6/{print $2; exit}')
  (cd "$cache/kernel" && apt-get download -qq "$package" && dpkg -x ./*.deb . && depmod -b . "$(ls lib/modules)")
  touch "$cache/kernel/.complete"
fi
