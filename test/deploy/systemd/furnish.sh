#!/usr/bin/env bash
# Puts the node's programs, units, and guest.sh as a unit that runs at the end of
# the start, into a root directory.
#   furnish.sh ROOT BIN PART…
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1 bin=$2
shift 2
mkdir -p "$root/opt/xebec/bin" "$root/etc/systemd/network" "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/systemd/system/network-online.target.wants"
cp -a "$bin/." "$root/opt/xebec/bin/"
top=$(realpath "$here/../../..")
mkdir -p "$root/opt/xebec/deploy"
cp -r "$top/deploy/systemd" "$root/opt/xebec/deploy/systemd"
# What deploy/README.md tells to do by hand.
awk '/^```/{if (code && text ~ /config containerd/) {printf "%s", text}; code=!code; text=""; next} code{text=text $0 "\n"}' "$top/deploy/README.md" >"$root/opt/xebec/install.sh"
[ -s "$root/opt/xebec/install.sh" ]
install -m 755 "$here/guest.sh" "$root/opt/xebec/guest.sh"
echo "$*" >"$root/opt/xebec/parts"
printf "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n" >"$root/etc/systemd/network/50-guest.network"
echo node >"$root/etc/hostname"
printf '127.0.0.1 localhost node\n' >"$root/etc/hosts"
cat >"$root/etc/systemd/system/guest.service" <<'UNIT'
[Unit]
Description=the test
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
ExecStart=/opt/xebec/guest.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
ln -sf /dev/null "$root/etc/systemd/system/serial-getty@ttyS0.service"
ln -sf ../guest.service "$root/etc/systemd/system/multi-user.target.wants/guest.service"
ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
ln -sf /lib/systemd/system/systemd-networkd-wait-online.service "$root/etc/systemd/system/network-online.target.wants/"
