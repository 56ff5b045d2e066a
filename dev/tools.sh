#!/usr/bin/env bash
# The tools that a build (`dev/tools.sh build`) or the tests (`dev/tools.sh test`) need. As root, Debian's packages are
# installed where they are missing; otherwise each fails with the command that brings it. Rust is never installed here.
set -euo pipefail

missing=()
failed=0
need() { # need PACKAGE COMMAND...: the command says whether the package is there
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

if ! command -v cargo >/dev/null; then
  echo "cargo is missing: install Rust 1.95 or later" >&2
  failed=1
fi
need gcc command -v cc
need pkg-config command -v pkg-config
need libssl-dev test -e /usr/include/openssl/ssl.h
need nodejs command -v node
need npm command -v npm
if [ "${1:-test}" = test ]; then
  need openssl command -v openssl
  need default-jdk-headless command -v java
  need maven command -v mvn
  need kcat command -v kcat
fi

if [ ${#missing[@]} -gt 0 ]; then
  install="apt-get install --yes --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    $install --quiet=2 >/dev/null
  else
    echo "missing: ${missing[*]}. As root: $install" >&2
    failed=1
  fi
fi
exit "$failed"
