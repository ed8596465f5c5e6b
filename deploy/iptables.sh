#!/bin/sh
# iptables.sh OUT: Debian's iptables (the nft variant) with the libraries that it is linked with and the
# extensions that it loads, as the tree of files below / that kube-proxy's image has. Nothing is installed.
# From the packages of the mirror; without one, from those that this machine has. What fits together
# is Debian's to know: all come from one release. The nft variant wants no lock that the node's programs share.
set -eu
packages="iptables libxtables12 libnftnl11 libmnl0 libc6"
out=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/all"

download() {
	cd "$dir"
	set -- -qq -o Acquire::http::Timeout=10 -o Acquire::Retries=1
	# shellcheck disable=SC2086
	timeout 60 apt-get "$@" download $packages || { timeout 60 apt-get "$@" update && timeout 60 apt-get "$@" download $packages; } || return 1
	for p in ./*.deb; do dpkg -x "$p" all || return 1; done
}
installed() {
	# shellcheck disable=SC2086
	dpkg-query -L $packages | sort -u | while read -r f; do [ -d "$f" ] || echo "$f"; done |
		tar -C / -cf - --files-from=- 2>>"$dir/log" | tar -C "$dir/all" -xf -
}
# The tree is whole or it is not made.
whole() {
	for f in xtables-nft-multi 'ld-linux*.so*' libc.so.6 'libxtables.so.*' 'libnftnl.so.*' 'libmnl.so.*' libxt_comment.so libxt_conntrack.so; do
		[ -n "$(find "$dir/all" -name "$f")" ] || { echo "there is no $f in the packages" >>"$dir/log"; return 1; }
	done
}
(download && whole) >"$dir/log" 2>&1 || { installed && whole; } || { cat "$dir/log" >&2; exit 1; }

# Extensions of other programs, and those that need a library for matches nobody has here, stay behind.
cd "$dir/all"
mkdir "$dir/tree"
{
	find . -path '*/xtables/lib*_*.so' ! -name 'libebt_*' ! -name 'libarpt_*' ! -name 'libxt_connlabel.so'
	find . -name 'libxtables.so.*' -o -name 'libnftnl.so.*' -o -name 'libmnl.so.*' -o -name 'libc.so.6' -o -name 'libm.so.6' -o -name 'ld-linux*.so*'
	find . -name xtables-nft-multi
	for p in $packages; do find . -path "*/doc/$p/copyright"; done
} | sort -u | tar --no-recursion -cf - --files-from=- | tar -C "$dir/tree" --touch -xf -
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
	ln -s xtables-nft-multi "$dir/tree/usr/sbin/$name"
done
# Later releases have it below /usr only; programs ask for it here.
for loader in "$dir"/tree/usr/lib*/ld-linux*; do
	at=${loader#"$dir/tree/usr"}
	[ -e "$loader" ] || continue
	mkdir -p "$dir/tree/${at%/*}"
	ln -s "/usr$at" "$dir/tree$at"
done
rm -rf "$out" "$out.new"
mkdir -p "$(dirname "$out")"
cp -R "$dir/tree" "$out.new"
mv "$out.new" "$out"
