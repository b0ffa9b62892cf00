#!/usr/bin/env bash
# usage: archive.sh FOLDER SUITE ARCHITECTURE PACKAGE...
# Unpacks Debian packages into FOLDER, from a suite and for an architecture that need not be this machine's:
# by a private configuration of apt, from the archive that the machine itself uses, checked with Debian's
# own keyring. Nothing is installed, nobody need be root, and only a failure is said, in one sentence.
# PACKAGE+ stands for a package and all that it depends on.
set -euo pipefail
folder=$1 suite=$2 architecture=$3
shift 3

fail() {
  echo "$*" >&2
  exit 1
}
for program in apt-get dpkg-deb; do
  command -v "$program" >/dev/null || fail "this machine has no $program to fetch $* with"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "the package debian-archive-keyring is missing"

# Of the machine's sources the first that serves Debian itself, which has every suite: one of security updates
# or of backports has another label.
archive=$(apt-get indextargets --format '$(LABEL) $(SITE)' 'Created-By: Packages' | sed -n 's/^Debian http/http/p')
archive=${archive%%$'\n'*}
archive=${archive:-http://deb.debian.org/debian}

state=$(mktemp -d)
unfinished=$folder.$$
trap 'rm -rf "$state" "$unfinished"' EXIT
# apt gives up its rights to a user who must be able to write here.
chmod 755 "$state"
mkdir -p "$state"/{lists,cache/archives}/partial "$state/debs"
chmod 777 "$state/debs"
echo "deb [signed-by=$keyring] $archive $suite main" >"$state/sources.list"
options=(-q -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o Dir::State::status=/dev/null
  -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture"
  -o Acquire::Languages=none -o APT::Update::Error-Mode=any)

fetch() {
  local package
  apt-get "${options[@]}" update || return
  cd "$state/debs"
  for package; do
    case $package in
      *+) apt-get "${options[@]}" -y --no-install-recommends --download-only \
        -o "Dir::Cache::archives=$state/debs" install "${package%+}" ;;
      *) apt-get "${options[@]}" download "$package" ;;
    esac || return
  done
}

(fetch "$@") >"$state/log" 2>&1 </dev/null ||
  fail "$* cannot be fetched from $archive: $(sed -n 's/^[EW]: //p' "$state/log" | head -n 1)"

mkdir -p "$unfinished"
for deb in "$state"/debs/*.deb; do
  dpkg-deb --extract "$deb" "$unfinished"
  dpkg-deb --show --showformat '${Package} ${Version} ${Architecture}\n' "$deb" >>"$unfinished/packages"
done
# Complete or absent.
rm -rf "$folder"
mv "$unfinished" "$folder"
