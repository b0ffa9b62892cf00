#!/bin/sh
# systemd.sh DEVICE ROOT: the programs that systemd's units x-systemd.makefs, x-systemd.growfs,
# tmpfiles.d and .mount run, one after another.
set -eu
device=$1
root=$2
raw=$root/run/arcbox/data

# ROOT is new on the first boot only: mount units make their mount points by themselves.
[ -d "$raw" ] || mkdir -p "$raw" "$root/var/lib/docker" "$root/var/lib/containerd" \
  "$root/var/lib/rancher/k3s" "$root/var/lib/kubelet" "$root/var/lib/cni"

/lib/systemd/systemd-makefs btrfs "$device"
mount -t btrfs -o noatime,compress=zstd:1,discard=async "$device" "$raw"
/lib/systemd/systemd-growfs "$raw"
# Without the variable `v` makes a plain directory where / is no subvolume.
SYSTEMD_TMPFILES_FORCE_SUBVOL=1 systemd-tmpfiles --create - <<END
v $raw/@docker
v $raw/@containerd
v $raw/@k3s
v $raw/@kubelet
v $raw/@cni
d $raw/@docker/containerd 0700
d $raw/@docker/network 0700
d $raw/@docker/builder 0700
d $raw/@docker/buildkit 0700
d $raw/@docker/image 0700
d $raw/@docker/trust 0700
d $raw/@containerd/io.containerd.metadata.v1.bolt 0700
d $raw/@containerd/io.containerd.snapshotter.v1.overlayfs 0700
d $raw/@k3s/server 0700
d $raw/@k3s/server/db 0700
d $raw/@k3s/agent 0700
d $raw/@k3s/agent/containerd 0700
d $raw/@k3s/agent/containerd/io.containerd.metadata.v1.bolt 0700
h $raw/@docker/containerd - - - - +C
h $raw/@docker/network - - - - +C
h $raw/@docker/builder - - - - +C
h $raw/@docker/buildkit - - - - +C
h $raw/@docker/image - - - - +C
h $raw/@docker/trust - - - - +C
h $raw/@containerd/io.containerd.metadata.v1.bolt - - - - +C
h $raw/@containerd/io.containerd.snapshotter.v1.overlayfs - - - - +C
h $raw/@k3s/server/db - - - - +C
h $raw/@k3s/agent/containerd/io.containerd.metadata.v1.bolt - - - - +C
END
mount -t btrfs -o noatime,subvol=@docker "$device" "$root/var/lib/docker"
mount -t btrfs -o noatime,subvol=@containerd "$device" "$root/var/lib/containerd"
mount -t btrfs -o noatime,subvol=@k3s "$device" "$root/var/lib/rancher/k3s"
mount -t btrfs -o noatime,subvol=@kubelet "$device" "$root/var/lib/kubelet"
mount -t btrfs -o noatime,subvol=@cni "$device" "$root/var/lib/cni"
