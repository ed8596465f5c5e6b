#!/usr/bin/env bash
# Boots a Debian 12 with systemd and the node's programs under QEMU, and runs
# guest.sh in it: nodes that units keep, which containers of a build machine
# cannot show. Wants root, `make images`, and Debian's mirror the first time.
#   boot.sh BIN CACHE
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1") cache=$2
top=$(realpath "$here/../../..")
mkdir -p "$cache"
cache=$(realpath "$cache")
for p in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mke2fs:e2fsprogs cpio:cpio depmod:kmod; do
  command -v "${p%%:*}" >/dev/null || want="${want:-} ${p##*:}"
done
if [ -n "${want:-}" ]; then
  # shellcheck disable=SC2086
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
fi
if [ ! -e "$cache/root/.complete" ]; then
  echo "a Debian with systemd, once"
  rm -rf "$cache/root" "$cache/kernel"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,dbus,iproute2,nftables,kmod,procps,curl,busybox-static bookworm "$cache/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$cache/debootstrap.log" 2>&1 ||
    { tail "$cache/debootstrap.log"; exit 1; }
  mkdir -p "$cache/kernel"
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/linux-image-6/{print $2; exit}')
  (cd "$cache/kernel" && apt-get download -qq "$package" && dpkg -x ./*.deb . && depmod -b . "$(ls lib/modules)")
  touch "$cache/root/.complete"
fi
release=$(ls "$cache/kernel/lib/modules")
work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What is in the guest beside Debian.
mkdir -p "$work/add/opt/xebec/bin" "$work/add/lib" "$work/initrd/bin" "$work/initrd/lib"
cp -a "$bin/." "$work/add/opt/xebec/bin/"
cp -r "$top/deploy/systemd" "$work/add/opt/xebec/units"
install -m 755 "$here/guest.sh" "$work/add/opt/xebec/guest.sh"
mkdir -p "$work/root/etc/systemd/system/multi-user.target.wants" "$work/root/etc/systemd/network"
cp -a "$cache/root/." "$work/root/"
mkdir -p "$work/root/usr/lib/modules"
cp -r "$cache/kernel/lib/modules/." "$work/root/usr/lib/modules/"
cp -a "$work/add/opt/." "$work/root/opt/"
printf "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n" >"$work/root/etc/systemd/network/50-guest.network"
echo node >"$work/root/etc/hostname"
printf '127.0.0.1 localhost node\n' >"$work/root/etc/hosts"
cat >"$work/root/etc/systemd/system/guest.service" <<'UNIT'
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
ln -sf /dev/null "$work/root/etc/systemd/system/serial-getty@ttyS0.service"
ln -sf ../guest.service "$work/root/etc/systemd/system/multi-user.target.wants/guest.service"
for unit in systemd-networkd.service; do
  ln -sf "/lib/systemd/system/$unit" "$work/root/etc/systemd/system/multi-user.target.wants/$unit"
done
mkdir -p "$work/root/etc/systemd/system/network-online.target.wants"
ln -sf /lib/systemd/system/systemd-networkd-wait-online.service "$work/root/etc/systemd/system/network-online.target.wants/"
truncate -s 6G "$work/disk"
mke2fs -q -t ext4 -d "$work/root" "$work/disk"
rm -rf "$work/root" "$work/add"

# A first root that finds the disk.
cp "$(command -v busybox)" "$work/initrd/bin/busybox"
mkdir -p "$work/initrd/lib/modules/$release" "$work/initrd/mnt" "$work/initrd/proc" "$work/initrd/dev"
cp "$cache/kernel/lib/modules/$release"/modules.* "$work/initrd/lib/modules/$release/"
for m in virtio_pci virtio_blk ext4 crc32c_generic; do
  (cd "$cache/kernel" && modprobe -d . -S "$release" -D "$m" | awk '$1=="insmod"{print $2}')
done | sed 's,^.*/lib/modules,lib/modules,' | sort -u | while read -r f; do
  install -D -m 644 "$cache/kernel/$f" "$work/initrd/$f"
done
cat >"$work/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for m in virtio_pci virtio_blk crc32c_generic ext4; do /bin/busybox modprobe $m; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /mnt
/bin/busybox umount /proc
exec /bin/busybox switch_root /mnt /sbin/init
INIT
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet) >"$work/initrd.img"

# Emulation is slow but works everywhere; some machines' /dev/kvm opens and runs nothing.
accel=(-accel tcg,thread=multi -cpu max)
[ -n "${KVM:-}" ] && accel=(-accel kvm -cpu host)
echo "booting $release (${accel[1]})"
timeout "${GUEST_TIMEOUT:-1800}" qemu-system-x86_64 "${accel[@]}" -m 3072 -smp 2 -nodefaults -no-reboot -display none \
  -kernel "$cache/kernel/boot/vmlinuz-$release" -initrd "$work/initrd.img" -append "console=ttyS0 loglevel=4 systemd.show_status=no" \
  -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe" -nic user,restrict=on,model=virtio-net-pci \
  -serial stdio </dev/null | tee "$work/serial.log" | sed -u 's/\r$//'
grep -q '^GUEST: all is well' "$work/serial.log" || { echo "the guest did not say that all is well"; exit 1; }
