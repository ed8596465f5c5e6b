#!/usr/bin/env bash
# Runs guest.sh under a systemd that is the first process of namespaces of its
# own, on this machine's kernel: minutes faster than boot.sh, with whatever
# versions of cgroups the machine has. Wants root and `make images`.
#   contain.sh BIN CACHE
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1")
mkdir -p "$2"
cache=$(realpath "$2")
"$here/debian.sh" "$cache"
work=$(mktemp -d "$cache/run.XXXXXX")
name=xebec-systemd-$$
groups=()
for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
  [ -L "$h" ] || [ ! -e "$h/cgroup.procs" ] || groups+=("$h/$name")
done
cleanup() {
  for g in "${groups[@]}"; do
    find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un | xargs -r kill -9 2>/dev/null || true
  done
  for g in "${groups[@]}"; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -e "$g" ] || break
      sleep 0.5
    done
  done
  rm -rf "$work"
}
trap cleanup EXIT
cp -a "$cache/root" "$work/root"
"$here/furnish.sh" "$work/root" "$bin" ${PARTS:-made installed}
sed -i 's,^StandardOutput=.*,StandardOutput=append:/guest.log,; s,^StandardError=.*,StandardError=append:/guest.log,; /^TTYPath/d' "$work/root/etc/systemd/system/guest.service"
: >"$work/root/guest.log"

for g in "${groups[@]}"; do
  mkdir "$g"
  if [ -e "$g/cpuset.cpus" ] && [ ! -s "$g/cpuset.cpus" ] || [ "$(basename "$(dirname "$g")")" = cpuset ]; then
    cat "$(dirname "$g")/cpuset.cpus" >"$g/cpuset.cpus"
    cat "$(dirname "$g")/cpuset.mems" >"$g/cpuset.mems"
  fi
done
cat >"$work/first.sh" <<'FIRST'
set -eu
root=$1
ip link set lo up
ip link add eth0 type veth peer name peer0
ip link set peer0 up
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
# The kernel's settings are the machine's; those of the network are ours.
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while read -r _ at type options _; do
    case $at in /sys/fs/cgroup/*) ;; *) continue ;; esac
    mkdir "$root$at"
    case $type,$at in
      cgroup2,*) mount -t cgroup2 cgroup2 "$root$at" ;;
      cgroup,*/systemd) mount -t cgroup -o none,name=systemd cgroup "$root$at" ;;
      cgroup,*) mount -t cgroup -o "$(echo "$options" | tr , '\n' | grep -E '^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|net_cls|net_prio|perf_event|hugetlb|rdma)$' | paste -sd,)" cgroup "$root$at" ;;
    esac
  done </proc/mounts
fi
mount -t tmpfs -o mode=755 tmpfs dev
for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 kmsg:1:11; do
  mknod -m 666 "dev/${d%%:*}" c $(echo "${d#*:}" | tr : ' ')
done
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=xebec PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init --log-target=null --show-status=false </dev/null >/dev/null 2>&1
FIRST
(
  for g in "${groups[@]}"; do echo "$BASHPID" >"$g/cgroup.procs"; done
  exec timeout -s KILL "${GUEST_TIMEOUT:-600}" unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child --propagation private bash "$work/first.sh" "$work/root"
) &
child=$!
tail --pid=$child -n +1 -f "$work/root/guest.log"
ended=0
wait $child || ended=$?
# unshare takes no other end than this one, and its child goes with it.
[ "$ended" != 137 ] || { echo "the guest was not done after ${GUEST_TIMEOUT:-600} s (GUEST_TIMEOUT); the last it said: $(grep '^GUEST:' "$work/root/guest.log" | tail -n 1)"; exit 1; }
grep -q '^GUEST: all is well' "$work/root/guest.log" || { echo "the guest did not say that all is well"; exit 1; }
