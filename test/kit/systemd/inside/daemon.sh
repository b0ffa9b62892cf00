#!/bin/bash
# Stands in for a container daemon: daemon.sh NAME DIRECTORY. It keeps a file of its directory open,
# as they all do, counts its starts in there, and records what it finds when it starts and stops.
name=$1 directory=$2

# systemd answers when it has set off everything that was due at that moment: whatever is not made to
# wait for us is under way by then.
record() {
  local volume mount
  volume=$(systemctl show --value --property=ActiveState arcbox-data.service)
  mount=$(findmnt --noheadings --raw --output=FSTYPE,FSROOT,TARGET --target="$directory")
  echo "$name $1, volume $volume, $mount" >>/var/log/machine/events
}

stop() {
  record "stops"
  exit
}

trap stop TERM
mkdir -p "$directory"
echo started >>"$directory/starts"
record "starts as number $(grep --count started "$directory/starts")"
exec 3>>"$directory/database"
systemd-notify --ready
sleep infinity 3>&- &
wait
