#!/bin/bash
# Runs as a unit in the guest that boot.sh or contain.sh has made, and says at
# the end whether all is well. The file parts beside it names what is tried: made (by make up) or installed (by hand).
set -Eeuo pipefail
export PATH=/opt/xebec/bin:$PATH HOME=/root KUBECONFIG=/etc/kubernetes/admin.conf SYSTEMD_COLORS=0
B=/opt/xebec/bin
why() {
  set +e
  echo "GUEST: line $1 failed"
  timeout 60 kubectl get pods -A -o wide
  timeout 60 kubectl get events -A --sort-by=.lastTimestamp | tail -n 20
  systemctl --no-pager --lines=0 status xebec-containerd containerd kubelet
  journalctl --no-pager -o cat -n 40 -u kubelet
  tail -n 20 /var/log/xebec/*.log 2>/dev/null
  exit 1
}
trap 'why $LINENO' ERR
say() { echo "GUEST: $*"; }
until_ok() { for _ in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.5; done; "$@"; }
containers() { kubectl get pods -A -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{"\n"}{end}' | sort; }

# An application runs, its pods are in systemd's slices, and what happens to the
# daemons touches no container.
application() { # RUNTIME-UNIT
  kubectl create deployment web --image=xebec.dev/web:v1 --port=8080 --replicas=2
  kubectl expose deployment web --port=80 --target-port=8080
  kubectl rollout status deployment web --timeout=600s
  kubectl -n kube-system rollout status deployment coredns --timeout=600s
  until_ok curl -sf -m 5 "http://$(kubectl get service web -o jsonpath='{.spec.clusterIP}')"
  say "pods are below systemd's slices"
  systemctl --no-pager --plain list-units 'kubepods*.slice' | grep -c kubepods-
  say "a restart of the units touches no container"
  before=$(containers)
  systemctl restart "$1" kubelet
  sleep 5
  until_ok kubectl wait --for=condition=Ready pods --all -A --timeout=60s
  diff <(echo "$before") <(containers)
  say "a kubelet that is killed is started again"
  pid=$(systemctl show -P MainPID kubelet)
  kill -9 "$pid"
  until_ok sh -c "[ \$(systemctl show -P MainPID kubelet) != $pid ] && systemctl is-active kubelet"
}

made() {
  say "make up, by units"
  xebec-up up --bin $B
  [ "$(systemctl is-active kubelet xebec-containerd | sort -u)" = active ]
  application xebec-containerd
  say "make down"
  xebec-up down --bin $B
  left=$(systemctl --no-pager --no-legend --plain list-units 'kubepods*' xebec-containerd kubelet 'xebec-certs*')
  [ -z "$left" ] || { echo "units that are left: $left"; false; }
}

installed() {
  say "by hand, as deploy/README.md says"
  (cd /opt/xebec && export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin && . ./install.sh) >/dev/null
  # The disk is the machine's, which may be fuller than a node's should be.
  cat >/opt/xebec/kubelet.yaml <<'END'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {imagefs.available: 1%, nodefs.available: 1%, memory.available: 50Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
END
  say "init"
  xebecadm init --pod-network-cidr=10.244.0.0/16 --kubelet-config=/opt/xebec/kubelet.yaml
  until_ok kubectl wait --for=condition=Ready node --all --timeout=5s
  kubectl taint nodes --all node-role.kubernetes.io/control-plane-
  application containerd
  say "reset"
  xebecadm reset --force
  [ ! -e /etc/kubernetes/admin.conf ] && [ -z "$(ls /etc/kubernetes/manifests)" ]
  [ "$(ctr -n k8s.io tasks ls -q | wc -l)" = 0 ]
}

say "$(uname -r), systemd $(systemctl --version | awk 'NR==1{print $2}'), /sys/fs/cgroup is a $(stat -fc %T /sys/fs/cgroup)"
for part in $(cat /opt/xebec/parts); do $part; done
say "all is well"
