#!/bin/bash
# PID 1 of new namespaces (pid, mount, uts, ipc, net): puts a machine together and becomes its systemd.
#   boot.sh ROOT CGROUP AGENT PLACE [DEVICE]
# ROOT    the machine's root directory
# CGROUP  an empty directory of a cgroup2, all that the machine sees of it
# AGENT   the executable under test, shown at PLACE, a file below ROOT
# DEVICE  its data disk, which it knows as /dev/disk/by-id/virtio-data
set -euo pipefail
root=$1 cgroup=$2 agent=$3 place=$4 device=${5:-}

if [ -z "${in_cgroup:-}" ]; then
  echo 0 >"$cgroup/cgroup.procs"
  in_cgroup=1 exec unshare --cgroup bash "$0" "$@"
fi

mount --bind "$root" "$root"
cd "$root"
mount --bind -o ro "$agent" "$place"
# This system's programs, without what it has in /usr/local, its services and what makes such.
mount --bind -o ro /usr usr
mount --rbind local usr/local
mount --bind units usr/lib/systemd/system
mount --bind none usr/lib/systemd/system-generators

# The kernel is everybody's: the machine may look at its settings and not change them.
mount -t proc proc proc
for part in sys sysrq-trigger irq bus fs; do
  [ ! -e "proc/$part" ] || mount --bind -o ro "proc/$part" "proc/$part"
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755 tmpfs dev
cp -a /dev/{null,zero,full,random,urandom,tty} dev
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p dev/{pts,shm,disk/by-id}
if [ -n "$device" ]; then
  cp -a "$device" dev
  ln -s "../../${device#/dev/}" dev/disk/by-id/virtio-data
fi
mount -t tmpfs -o mode=755 tmpfs run

pivot_root . old
umount --lazy old
hostname machine
# `container` tells systemd that the kernel is not its own.
exec env --ignore-environment container=arcbox-test \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
  /usr/lib/systemd/systemd --log-target=journal --show-status=no
