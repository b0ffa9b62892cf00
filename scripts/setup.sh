#!/usr/bin/env bash
# Installs what is missing, and says what and why: the npm packages always, the Debian packages
# for `build`, `release`, `demo`, `test` or `bench` when that is the argument. Running it again installs nothing.
# Packages that would change how a machine works (a kernel, udev rules, services) are only unpacked.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "set-up: $*"; }

npm_packages() {
  # npm writes this file last, so an install that was cut short is repeated.
  local stamp=node_modules/.package-lock.json
  if [ ! -e "$stamp" ] || [ package-lock.json -nt "$stamp" ]; then
    say "npm ci (Bun, the compiler, the checkers and the libraries, into node_modules)"
    # npm ci begins by deleting the folder, and the cache in it is what a machine without network lives on.
    local cache=node_modules/.cache
    if [ -d "$cache" ]; then rm -rf .cache-kept && mv "$cache" .cache-kept; fi
    npm ci --no-audit --no-fund --loglevel=error
    if [ -d .cache-kept ]; then mv .cache-kept "$cache"; fi
  fi
  # Bun's executable is put in place by its install script, which npm may be told not to run.
  if ! node_modules/.bin/bun --version >/dev/null 2>&1; then
    say "Bun's own install script (npm did not run it)"
    node node_modules/bun/install.js
  fi
}

# Where packages are unpacked that are not to be installed, and those for arm64: test/kit/debian.ts looks there.
unpacked=node_modules/.cache/debian
unpacked_arm64=$unpacked-arm64

# Lines "program package why" of what $1 needs and this machine does not have.
missing() {
  missing_installed "$1"
  missing_unpacked "$1"
}

# The files are patterns, in which ** stands for any folders.
missing_unpacked() {
  local uses file package why folder
  shopt -s globstar
  while read -r uses file package why; do
    [[ ",$uses," == *",$1,"* ]] || continue
    folder=$unpacked
    [[ $package != *:arm64 ]] || folder=$unpacked_arm64
    compgen -G "$folder/$file" >/dev/null || echo "$file $package $why"
  done < <(grep -v '^#' scripts/debian-unpacked)
}

missing_installed() {
  local uses program package why
  while read -r uses program package why; do
    [[ ",$uses," == *",$1,"* ]] || continue
    [ -e "$program" ] || command -v "$program" >/dev/null || echo "$program $package $why"
  done < <(grep -v '^#' scripts/debian-packages)
}

debian_packages() {
  local wanted log program package why
  local packages=()
  wanted=$(missing_installed "$1")
  [ -n "$wanted" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "without root and apt-get this cannot install $(cut -d' ' -f1 <<<"$wanted" | paste -sd' ')"
    return 0
  fi
  while read -r program package why; do
    say "Debian package $package ($program: $why)"
    packages+=("$package")
  done <<<"$wanted"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # A failure is not the end: the caller looks at what is still missing. What is installed stays: systemd
  # would otherwise replace elogind on a machine that starts without it.
  if ! { apt-get -q update && apt-get -qy --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=120 install "${packages[@]}"; } </dev/null >"$log" 2>&1; then
    tail -n 15 "$log"
    say "apt-get failed, see above"
  fi
  rm -f "$log"
}

# Of "one|other" the first package that this Debian has.
first_available() {
  local package
  for package in ${1//|/ }; do
    if apt-cache policy "$package" | grep -q 'Candidate: [^(]'; then echo "$package"; return; fi
  done
  echo "${1%%|*}"
}

# Unpacks the newest version of each package below $unpacked, for which nobody need be root.
unpack_debian_packages() {
  local wanted log file package why
  local packages=()
  wanted=$(missing_unpacked "$1" | grep -v ':arm64 ') || return 0
  command -v apt-get >/dev/null || { say "without apt-get this cannot fetch $wanted"; return 0; }
  while read -r file package why; do
    say "Debian package $package, unpacked into $unpacked ($why)"
    package=$(first_available "$package")
    # The kernel of the day is what its metapackage depends on.
    [[ $package != linux-image-* ]] || package=$(apt-cache depends "$package" |
      sed -n 's/^  Depends: \(linux-image-[0-9].*\)/\1/p')
    packages+=("$package")
  done <<<"$wanted"
  mkdir -p "$unpacked"
  log=$(mktemp)
  (
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # apt gives up its rights to a user who must be able to write here.
    chmod 777 "$folder"
    (cd "$folder" && apt-get -q download "${packages[@]}") || exit
    for file in "$folder"/*.deb; do dpkg-deb --extract "$file" "$unpacked" || exit; done
  ) </dev/null >"$log" 2>&1 || { tail -n 15 "$log"; say "apt-get failed, see above"; }
  rm -f "$log"
}

# From one release of Debian, whatever this machine runs, with all that they depend on.
unpack_arm64_packages() {
  local wanted
  wanted=$(missing_unpacked "$1" | grep ':arm64 ' | cut -d' ' -f2) || return 0
  say "Debian packages for arm64, unpacked into $unpacked_arm64 (a kernel and what a machine of it needs: 70 MB)"
  bash scripts/build/archive.sh "$unpacked_arm64" trixie arm64 ${wanted//:arm64/+} || true
}

case "${1:-}" in
  missing) missing "$2" ;;
  build | release | demo | test | bench) npm_packages && debian_packages "$1" && unpack_debian_packages "$1" && unpack_arm64_packages "$1" ;;
  *) npm_packages ;;
esac
