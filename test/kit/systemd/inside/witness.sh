#!/bin/bash
# Looks on when the data volume's unit has stopped, before anything else of the shutdown.
{
  systemctl show --property=ActiveState,Result arcbox-data.service
  findmnt --noheadings --raw --output=TARGET --types=btrfs | sed 's/^/mounted /'
  find /sys/fs/btrfs -mindepth 1 -maxdepth 1 -printf 'filesystem %f\n'
} >/var/log/machine/witness
echo witness >>/var/log/machine/events
