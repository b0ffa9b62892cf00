#!/bin/sh
# boot-script.sh DEVICE ROOT: a data volume the way a boot script usually does it.
set -eu
device=$1
root=$2
raw=$root/run/arcbox/data

[ "$(blkid -p -o value -s TYPE "$device" || true)" = btrfs ] ||
  mkfs.btrfs -q -f -L arcbox-data "$device"
mkdir -p "$raw"
mount -t btrfs -o noatime,compress=zstd:1,discard=async "$device" "$raw"
btrfs filesystem resize max "$raw" >/dev/null

# subvolume target [NOCOW directories...]
subvolume() {
  name=$1
  target=$root$2
  shift 2
  btrfs subvolume show "$raw/$name" >/dev/null 2>&1 || btrfs subvolume create "$raw/$name" >/dev/null
  mkdir -p "$target"
  mount -t btrfs -o "noatime,subvol=$name" "$device" "$target"
  [ $# -gt 0 ] || return 0
  cd "$target"
  mkdir -p "$@"
  chattr +C "$@"
  cd /
}

subvolume @docker /var/lib/docker containerd network builder buildkit image trust
subvolume @containerd /var/lib/containerd \
  io.containerd.metadata.v1.bolt io.containerd.snapshotter.v1.overlayfs
subvolume @k3s /var/lib/rancher/k3s server/db agent/containerd/io.containerd.metadata.v1.bolt
subvolume @kubelet /var/lib/kubelet
subvolume @cni /var/lib/cni
