#!/usr/bin/env bash
# Checks that the tools which the tests need are here; a missing one fails with the command that brings it.
set -euo pipefail

missing=0
need() { # need COMMAND HOW
  command -v "$1" >/dev/null && return
  echo "$1 is missing: $2" >&2
  missing=1
}
need cargo "install Rust 1.95 or later"
need cc "apt-get install gcc"
need node "apt-get install nodejs"
need npm "apt-get install npm"
need openssl "apt-get install openssl"
need java "apt-get install default-jdk-headless"
need mvn "apt-get install maven"
need kcat "apt-get install kcat"
need pkg-config "apt-get install pkg-config"
if ! pkg-config --exists libssl; then
  echo "libssl's headers are missing: apt-get install libssl-dev" >&2
  missing=1
fi
exit "$missing"
