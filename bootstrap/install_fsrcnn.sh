#!/usr/bin/env bash
# EMR bootstrap action: installs superres, its libraries and weights on a node, offline, from S3.
#
#   install_fsrcnn.sh --wheel s3://… --wheel-sha256 HEX --cpu s3://… --cpu-sha256 HEX
#                     [--gpu s3://… --gpu-sha256 HEX]
#
# Creates $SUPERRES_MNT/superres/venv. A node with a GPU gets the wheelhouse gpu (torch) as well as cpu.
# Runs as user hadoop, before EMR installs its applications and the GPU's driver. It can run again.
#
#   SUPERRES_MNT     folder with enough space; /mnt, since 7 GB of torch fill EMR's root volume
#   SUPERRES_PYTHON  python3.11
#   SUPERRES_GPU     yes or no; unset: yes if the PCI bus has an NVIDIA device
set -euo pipefail
umask 022 # YARN's containers run as other users

mnt=${SUPERRES_MNT:-/mnt}
python=${SUPERRES_PYTHON:-python3.11}
home=$mnt/superres

report() { echo "install_fsrcnn: $*"; }
fail() {
  echo "install_fsrcnn: $*" >&2
  exit 1
}

# ---- arguments

wheel='' wheel_sha256='' cpu='' cpu_sha256='' gpu='' gpu_sha256=''
while (($#)); do
  case $1 in
    --wheel | --wheel-sha256 | --cpu | --cpu-sha256 | --gpu | --gpu-sha256)
      (($# > 1)) || fail "$1 needs a value"
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift 2
      ;;
    *) fail "unknown argument $1; expected --wheel, --cpu, --gpu (s3://…) and the --…-sha256 of each" ;;
  esac
done

require() { # NAME URI SHA256
  [[ $2 == s3://?*/?* ]] || fail "--$1 must be s3://bucket/key, not '$2'"
  [[ $3 =~ ^[0-9a-f]{64}$ ]] || fail "--$1-sha256 must be 64 hex digits, not '$3'"
}

has_gpu() { # 0x10de is NVIDIA; the driver, with nvidia-smi, is installed only after bootstrap
  case ${SUPERRES_GPU:-} in yes) return 0 ;; no) return 1 ;; esac
  grep -qsx 0x10de /sys/bus/pci/devices/*/vendor
}

require wheel "$wheel" "$wheel_sha256"
require cpu "$cpu" "$cpu_sha256"
engines=(cpu)
bytes_needed=$((2 << 30)) # measured: wheelhouse 0.2 GB, twice while it is unpacked, and 0.6 GB installed
if has_gpu; then
  [[ -n $gpu ]] || fail "this node has a GPU, but --gpu is missing; run make package without GPU=no, or use CPU instance types"
  require gpu "$gpu" "$gpu_sha256"
  engines+=(torch)
  bytes_needed=$((18 << 30)) # measured: wheelhouse 4.1 GB, twice, and 7 GB installed
else
  gpu='' gpu_sha256=''
fi

# ---- existing installation and disk space

if ! command -v "$python" >/dev/null; then
  # From Amazon Linux's repository, in case a release of EMR leaves it out.
  { command -v dnf >/dev/null && sudo dnf install -y -q "$python"; } ||
    fail "$python is not on this node and cannot be installed; use a release label that has it, or set SUPERRES_PYTHON"
fi
digest=$("$python" -VV | cat - <(echo "$wheel_sha256 $cpu_sha256 $gpu_sha256") | sha256sum)
venv=$home/venv-${digest:0:16}

mkdir -p "$home" 2>/dev/null || sudo install -d -o "$(id -u)" -g "$(id -g)" "$home" || fail "cannot create the folder $home"
# Two nodes of the local cloud share a folder.
exec 9>"$home/.lock"
flock 9 || fail "cannot lock $home/.lock"

point_at() { # renamed over the old link, so that venv always exists
  ln -sfn "$1" "$home/.venv.new"
  mv -T "$home/.venv.new" "$home/venv"
}

if [[ -e $venv/.complete ]]; then
  point_at "${venv##*/}"
  report "$home/venv exists already; nothing to do"
  exit 0
fi

bytes_free=$(df --output=avail -B1 "$mnt" | tail -n 1)
((bytes_free >= bytes_needed)) ||
  fail "$((bytes_free >> 20)) MiB free on $mnt, $((bytes_needed >> 20)) needed; use a larger EBS volume for this instance fleet"

# ---- download

work=$(mktemp -d "$home/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work # pip unpacks there; /tmp is on the small root volume

download() { # URI SHA256 FILE
  aws s3 cp --only-show-errors "$1" "$3" 9>&- ||
    fail "cannot download $1; run make deploy, which uploads it, and allow the instance profile s3:GetObject"
  local found
  found=$(sha256sum <"$3")
  [[ ${found%% *} == "$2" ]] || fail "$1 has SHA-256 ${found%% *}, expected $2; run make deploy again"
}

download "$wheel" "$wheel_sha256" "$work/${wheel##*/}"
pip_arguments=()
for role in cpu gpu; do
  uri=${!role} sha256=${role}_sha256
  [[ -n $uri ]] || continue
  download "$uri" "${!sha256}" "$work/$role.tar"
  mkdir "$work/$role"
  tar -xf "$work/$role.tar" -C "$work/$role" || fail "cannot unpack $uri"
  rm "$work/$role.tar"
  pip_arguments+=(--find-links "$work/$role" -r "$work/$role/requirements.txt")
done

# ---- install; a venv cannot be moved, so it is built in its final folder and marked when complete

rm -rf "$venv"
"$python" -m venv "$venv" 9>&- || fail "$python cannot create $venv"
# Isolated: ignores pip's settings on this machine.
pip=("$venv/bin/python" -m pip --isolated --disable-pip-version-check install --quiet --no-cache-dir --no-index)
"${pip[@]}" --require-hashes "${pip_arguments[@]}" 9>&- || fail "pip cannot install the wheelhouses (see above)"
"${pip[@]}" --no-deps "$work/${wheel##*/}" 9>&- || fail "pip cannot install $wheel (see above)"
for engine in "${engines[@]}"; do
  (cd "$work" && "$venv/bin/python" -I -m superres.network.self_test "$engine" 9>&-) ||
    fail "the installation in $venv does not work (see above)"
done
touch "$venv/.complete"
point_at "${venv##*/}"
report "$home/venv is ready (${engines[*]})"
