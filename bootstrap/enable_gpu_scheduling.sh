#!/usr/bin/env bash
# EMR bootstrap action: gives YARN's GPU plugin the cgroup v1 controller `devices`, which it needs to
# keep containers off GPUs that are not theirs. Amazon Linux 2023 has cgroup v2, so the controller is
# mounted at a path of its own, as NVIDIA's guide to Spark RAPIDS on EMR does. The classifications
# yarn-site and container-executor name the same path. Does nothing on a node without a GPU.
#
#   SUPERRES_CGROUP  /spark-rapids-cgroup
#   SUPERRES_GPU     yes or no; unset: whether the PCI bus shows one of NVIDIA
set -euo pipefail

devices=${SUPERRES_CGROUP:-/spark-rapids-cgroup}/devices

fail() {
  echo "enable_gpu_scheduling: $*" >&2
  exit 1
}

has_gpu() { # as in install_fsrcnn.sh; EMR fetches each bootstrap action alone, so they share nothing
  case ${SUPERRES_GPU:-} in yes) return 0 ;; no) return 1 ;; esac
  grep -qsx 0x10de /sys/bus/pci/devices/*/vendor
}

(($# == 0)) || fail "takes no arguments, got: $*"
if ! has_gpu; then
  echo "enable_gpu_scheduling: no GPU here; nothing to do"
  exit 0
fi
if ! mountpoint -q "$devices"; then
  sudo mkdir -p "$devices" || fail "cannot make the folder $devices"
  sudo mount -t cgroup -o devices cgroupv1-devices "$devices" ||
    fail "cannot mount the cgroup v1 controller 'devices' at $devices; remedy: a release label whose kernel has it"
fi
# YARN's container-executor makes a folder below for each container.
sudo chmod -R a+rwx "${devices%/devices}" || fail "cannot open $devices to YARN"
echo "enable_gpu_scheduling: cgroup v1 controller 'devices' at $devices"
