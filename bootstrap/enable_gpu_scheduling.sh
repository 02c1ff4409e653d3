#!/usr/bin/env bash
# EMR bootstrap action: gives YARN's GPU plugin the cgroup v1 controller `devices`, which it needs to
# deny containers GPUs that are not assigned to them. Amazon Linux 2023 has cgroup v2, so the controller
# is mounted at its own path, as in NVIDIA's guide to Spark RAPIDS on EMR. The classifications yarn-site
# and container-executor name the folder above it: YARN appends /devices. Does nothing on a node without
# a GPU.
#
#   SUPERRES_CGROUP  /spark-rapids-cgroup
#   SUPERRES_GPU     yes or no; unset: yes if the PCI bus has an NVIDIA device
set -euo pipefail

devices=${SUPERRES_CGROUP:-/spark-rapids-cgroup}/devices

fail() {
  echo "enable_gpu_scheduling: $*" >&2
  exit 1
}

has_gpu() { # as in install_fsrcnn.sh; EMR downloads each bootstrap action alone, so they cannot share a file
  case ${SUPERRES_GPU:-} in yes) return 0 ;; no) return 1 ;; esac
  grep -qsx 0x10de /sys/bus/pci/devices/*/vendor
}

(($# == 0)) || fail "takes no arguments, got: $*"
if ! has_gpu; then
  echo "enable_gpu_scheduling: no GPU here; nothing to do"
  exit 0
fi
if ! mountpoint -q "$devices"; then
  sudo mkdir -p "$devices" || fail "cannot create the folder $devices"
  sudo mount -t cgroup -o devices cgroupv1-devices "$devices" ||
    fail "cannot mount the cgroup v1 controller 'devices' at $devices; use a release label whose kernel has it"
fi
# YARN's container-executor creates a folder in it for each container.
sudo chmod -R a+rwx "${devices%/devices}" || fail "cannot make $devices writable for YARN"
echo "enable_gpu_scheduling: cgroup v1 controller 'devices' at $devices"
