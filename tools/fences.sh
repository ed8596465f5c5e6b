#!/usr/bin/env bash
# Which module may depend on what (docs/architecture.md, "Fences").
set -eu
cd "$(dirname "$0")/.."
bad=0
say() { echo "fence: $1"; bad=1; }
for f in $(git ls-files '*go.mod'); do
  m=$(dirname "$f")
  case "$m" in apiserver | test | test/* | deploy/*) ;; *)
    ! grep -q 'go\.etcd\.io' "$f" || say "$f names etcd: only the apiserver may" ;;
  esac
  case "$m" in test | test/* | deploy/*) ;; *)
    # Of k8s.io/apiserver, its CEL types and functions alone are of use.
    ! grep -rnE '"k8s\.io/apiserver(/|")' --include='*.go' "$m" | grep -vE '"k8s\.io/apiserver/pkg/cel(/library)?"' ||
      say "$m imports a part of k8s.io/apiserver that this project replaces"
    # An indirect one comes with an allowed library: pod-security-admission names component-base.
    ! grep -v '// indirect' "$f" | grep -qE 'k8s\.io/(kubernetes|component-base|controller-manager|kube-aggregator|client-go)( |$)' ||
      say "$f requires a module that this project replaces" ;;
  esac
done
! grep -rnE '"xebec\.dev/(apiserver|client|test)' --include='*.go' api proto || say "api and proto import upwards"
! grep -rnE '"xebec\.dev/(apiserver|test)' --include='*.go' client || say "client imports upwards"
for m in scheduler controller-manager kubelet kube-proxy; do
  others=$(echo 'apiserver|scheduler|controller-manager|kubelet|kube-proxy|test|deploy' | sed -E "s/(^|\|)$m(\||$)/|/; s/^\|//; s/\|$//")
  ! grep -rnE "\"xebec\.dev/($others)(/|\")" --include='*.go' "$m" || say "$m imports another daemon"
done
! git ls-files | grep -E '(^|/)(util|utils|common|helper|helpers|misc)/' || say "a package named for nothing"
exit $bad
