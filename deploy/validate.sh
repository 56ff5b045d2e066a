#!/usr/bin/env bash
# Checks docker-compose.yml and deploy/kubernetes/ without a cluster: `docker-compose config` (Debian) and
# `kubernetes-validate` (PyPI, which carries the schemas).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v docker-compose >/dev/null || { echo "docker-compose is missing: apt-get install docker-compose" >&2; exit 1; }
command -v kubernetes-validate >/dev/null || { echo "kubernetes-validate is missing: pip install kubernetes-validate" >&2; exit 1; }
docker-compose config --quiet
for file in deploy/kubernetes/*.yaml; do
  [ "$(basename "$file")" = kustomization.yaml ] || kubernetes-validate --strict "$file"
done
