#!/usr/bin/env bash
# Boots a Debian 12 with systemd and the node's programs under QEMU, and runs
# guest.sh in it: nodes that units keep, which containers of a build machine
# cannot show. Wants root, `make images`, and Debian's mirror the first time.
# It tries one of the two parts of guest.sh, PARTS="made installed" both. Without
# KVM all is twenty times slower, and on a machine that has other things to do too
# slow: etcd's writes take longer than the API server waits for them.
#   boot.sh BIN CACHE
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1") cache=$2
mkdir -p "$cache"
cache=$(realpath "$cache")
for p in qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs cpio:cpio depmod:kmod; do
  command -v "${p%%:*}" >/dev/null || want="${want:-} ${p##*:}"
done
if [ -n "${want:-}" ]; then
  # shellcheck disable=SC2086
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
fi
"$here/debian.sh" "$cache" kernel
release=$(ls "$cache/kernel/lib/modules")
work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/initrd/bin"
cp -a "$cache/root" "$work/root"
mkdir -p "$work/root/usr/lib/modules"
cp -r "$cache/kernel/lib/modules/." "$work/root/usr/lib/modules/"
"$here/furnish.sh" "$work/root" "$bin" ${PARTS:-made}
truncate -s 6G "$work/disk"
mke2fs -q -t ext4 -d "$work/root" "$work/disk"
rm -rf "$work/root"

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
ended=0
timeout "${GUEST_TIMEOUT:-1800}" qemu-system-x86_64 "${accel[@]}" -m 3072 -smp 2 -nodefaults -no-reboot -display none \
  -kernel "$cache/kernel/boot/vmlinuz-$release" -initrd "$work/initrd.img" -append "console=ttyS0 loglevel=4 systemd.show_status=no" \
  -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe" -nic user,restrict=on,model=virtio-net-pci \
  -serial stdio </dev/null | tee "$work/serial.log" | sed -u 's/\r$//' || ended=${PIPESTATUS[0]}
# A machine that is busy is slow, which is no failure of what is tried.
[ "$ended" != 124 ] || { echo "the guest was not done after ${GUEST_TIMEOUT:-1800} s (GUEST_TIMEOUT); the last it said: $(grep -a '^GUEST:' "$work/serial.log" | tail -n 1)"; exit 1; }
grep -q '^GUEST: all is well' "$work/serial.log" || { echo "the guest did not say that all is well"; exit 1; }
