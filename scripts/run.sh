#!/usr/bin/env bash
# `npm run demo`, `npm test` and `npm run bench`: sets the machine up, builds the program, runs
# scripts/demo.ts, scripts/test.ts or bench/main.ts. In Bash, because a fresh machine has nothing
# else that can do the set-up.
set -euo pipefail
cd "$(dirname "$0")/.."
# A plain user's PATH leaves out the places where mkfs.btrfs and losetup are.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

what=$1
shift
script=scripts/$what.ts
[ "$what" != bench ] || script=bench/main.ts

# What real volumes need and this machine does not have, with commas between.
lacking=""
lack() { lacking="${lacking:+$lacking, }$1"; }

kernel_has_btrfs() {
  grep -qw btrfs /proc/filesystems && return
  if [ "$(id -u)" = 0 ]; then
    modprobe -q btrfs && grep -qw btrfs /proc/filesystems
  else
    modprobe -qn btrfs # only asks whether there is such a module
  fi
}

has_loop_devices() {
  [ -c /dev/loop-control ] || modprobe -q loop || return
  # A container may show the node and forbid its use.
  [ "$(id -u)" != 0 ] || : <>/dev/loop-control
}

look_at_machine() {
  if [ "$(uname -s)" != Linux ]; then
    lack Linux
    return
  fi
  [ "$(id -u)" = 0 ] || lack root
  kernel_has_btrfs || lack "Btrfs in the kernel"
  has_loop_devices || lack "loop devices"
  [ "$(id -u)" != 0 ] || unshare --mount true || lack "permission to mount"
} 2>/dev/null

stop_where_lacking() {
  [ -n "$lacking" ] || return 0
  echo "The $what cannot run, because this machine lacks: $lacking." >&2
  exit 1
}

look_at_machine
# Only the tests can do something with a machine that lacks something.
if [ "$what" != test ]; then
  stop_where_lacking
  # One at a time in this folder: the lock goes on to the demo or the bench and ends with it.
  exec 9<package.json
  flock -n 9 || { echo "The demo or the bench is already running in this folder." >&2; exit 1; }
fi

bash scripts/setup.sh "$what"
export PATH="$PWD/node_modules/.bin:$PATH"
programs=$(bash scripts/setup.sh missing "$what" | cut -d' ' -f1 | paste -sd, | sed 's/,/, /g')
[ -z "$programs" ] || lack "$programs"
[ "$what" = test ] || stop_where_lacking
# The tests run what is made for the other architecture too, where nothing is lacking for it. What takes longer
# than a second is said.
build=build
[ "$what" != test ] || [ -n "$programs" ] || build=build:all
npm run --silent "$build" >/dev/null

export LACKING=$lacking
# A mount namespace of its own: no mount is seen by the rest of the machine, where a service
# starting meanwhile would copy it and keep the volume alive, and none outlives this run, even if
# it is killed outright.
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
  exec unshare --mount --propagation private bun "$script" "$@"
fi
exec bun "$script" "$@"
