#!/bin/bash
# Waits until the machine is up, notes how the named services are, plays what the test wants, and ends it.
cd /var/log/machine || exit
systemctl is-system-running --wait
systemctl show --property=Id,ActiveState,Result,ExecMainStatus,ExecMainStartTimestampMonotonic \
  "$@" >booted
bash -euo pipefail scenario &>said
echo $? >status
systemctl --no-block poweroff
