#!/usr/bin/env bash
# usage: archive.sh FOLDER ARCHITECTURE PACKAGE...
# Unpacks Debian packages into FOLDER from Debian's testing suite, whatever this machine runs: by a private
# configuration of apt, from the archive that the machine itself uses, checked with Debian's own keyring.
# Nothing is installed, and nobody need be root.
set -euo pipefail
folder=$1
architecture=$2
shift 2
suite=testing
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { echo "build: $*" >&2; }
for program in apt-get dpkg-deb; do
  command -v "$program" >/dev/null || { say "this needs Debian's $program; see README.md, \"Build it\""; exit 1; }
done
[ -r "$keyring" ] || { say "the package debian-archive-keyring is missing"; exit 1; }

# Of the machine's sources the first that serves Debian itself, which has every suite.
archive=$(apt-get indextargets --format '$(SITE) $(ORIGIN)' 'Created-By: Packages' |
  sed -n 's/ Debian$//p' | head -n 1)
archive=${archive:-http://deb.debian.org/debian}

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
# apt gives up its rights to a user who must be able to write here.
chmod 755 "$state"
mkdir -p "$state"/{lists,cache}/partial "$state/cache/archives/partial" "$state/debs"
chmod 777 "$state/debs"
echo "deb [signed-by=$keyring] $archive $suite main" >"$state/sources.list"
options=(-q -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o Dir::State::status=/dev/null
  -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture"
  -o APT::Get::List-Cleanup=false -o Acquire::Languages=none)

say "fetching $* ($architecture) from Debian $suite"
{
  apt-get "${options[@]}" update
  (cd "$state/debs" && apt-get "${options[@]}" download "$@")
} >"$state/log" 2>&1 </dev/null || { tail -n 15 "$state/log" >&2; say "apt-get failed, see above"; exit 1; }
grep -q '^[WE]: .*[Ff]ailed' "$state/log" && { tail -n 15 "$state/log" >&2; exit 1; }

rm -rf "$folder.new"
mkdir -p "$folder.new"
for deb in "$state"/debs/*.deb; do
  dpkg-deb --extract "$deb" "$folder.new"
  dpkg-deb --field "$deb" Package Version Architecture | paste -sd' ' >>"$folder.new/packages"
done
# Complete or absent.
rm -rf "$folder"
mv "$folder.new" "$folder"
