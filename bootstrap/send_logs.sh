#!/usr/bin/env bash
# EMR bootstrap action: sends the logs of bootstrap actions, steps and Spark to CloudWatch as they are
# written, and how busy a GPU is. EMR copies logs to S3 as well, but minutes later, and not from an instance
# that is lost before.
#
#   send_logs.sh --log-group NAME --namespace NAME
#
# EMR has a setting of its own for this, MonitoringConfiguration of RunJobFlow, which neither createCluster
# of Step Functions nor Terraform's provider accepts. So this is AWS's other way, the CloudWatch agent:
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-plan-logging-cw.html
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/enhanced-custom-metrics.html
# Jobs do not need it, so nothing that goes wrong here makes EMR drop the node.
#
#   SUPERRES_MNT  /mnt
#   SUPERRES_GPU  yes or no; unset: yes if the PCI bus has an NVIDIA device
set -euo pipefail

mnt=${SUPERRES_MNT:-/mnt}
folder=$mnt/superres/cloudwatch-agent
agent=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl

skip() {
  echo "send_logs: $*; logs go to S3 alone"
  exit 0
}

has_gpu() { # as in install_fsrcnn.sh; EMR downloads each bootstrap action alone, so they cannot share a file
  case ${SUPERRES_GPU:-} in yes) return 0 ;; no) return 1 ;; esac
  grep -qsx 0x10de /sys/bus/pci/devices/*/vendor
}

write_logs_config() { # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-web-log-files.html
  local separator='' stream pattern
  echo '{"logs": {"logs_collected": {"files": {"collect_list": ['
  while read -r stream pattern; do
    # A stream for each file; otherwise the agent follows only the newest one.
    printf '%s{"file_path": "%s/var/log/%s", "log_group_name": "%s", "log_stream_name": "{instance_id}/%s", "publish_multi_logs": true}' \
      "$separator" "$mnt" "$pattern" "$log_group" "$stream"
    separator=$',\n'
  done <<'LOGS'
bootstrap bootstrap-actions/*/std*
step hadoop/steps/*/*
spark hadoop-yarn/containers/*/*/std*
LOGS
  echo ']}}}}'
}

# The agent does not start with metrics of a GPU while there is no driver, and EMR installs that after
# bootstrap. So a unit of systemd waits for it.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-NVIDIA-GPU.html
measure_gpu() {
  cat >"$folder/gpu.json" <<JSON
{"metrics": {"namespace": "$namespace", "metrics_collected": {"nvidia_gpu": {"measurement": ["utilization_gpu", "utilization_memory", "memory_used"]}}}}
JSON
  sudo tee /etc/systemd/system/superres-gpu-metrics.path >/dev/null <<'UNIT'
[Path]
PathExists=/usr/bin/nvidia-smi

[Install]
WantedBy=multi-user.target
UNIT
  sudo tee /etc/systemd/system/superres-gpu-metrics.service >/dev/null <<UNIT
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$agent -a append-config -m ec2 -s -c file:$folder/gpu.json
UNIT
  sudo systemctl daemon-reload && sudo systemctl enable --now superres-gpu-metrics.path
}

log_group='' namespace=''
while (($# > 1)); do
  case $1 in
    --log-group) log_group=$2 ;;
    --namespace) namespace=$2 ;;
    *) break ;;
  esac
  shift 2
done
if (($# > 0)) || [[ -z $log_group || -z $namespace ]]; then
  echo "send_logs: expected --log-group NAME --namespace NAME, got: $*" >&2
  exit 1
fi

# Only instances of EMR have this file; the machine of the local cloud must not get an agent.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-plan-bootstrap.html
[[ -e $mnt/var/lib/info/instance.json ]] || skip "this is no instance of EMR"
mkdir -p "$folder" 2>/dev/null ||
  sudo install -d -o "$(id -u)" -g "$(id -g)" "$mnt/superres" "$folder" || skip "cannot create the folder $folder"
sudo dnf install -y -q amazon-cloudwatch-agent || skip "dnf cannot install amazon-cloudwatch-agent"
write_logs_config >"$folder/logs.json"
sudo "$agent" -a fetch-config -m ec2 -s -c "file:$folder/logs.json" || skip "the CloudWatch agent does not start with $folder/logs.json"
if has_gpu; then
  measure_gpu || echo "send_logs: the GPU is not measured: systemd does not accept the unit"
fi
echo "send_logs: logs go to the log group $log_group"
