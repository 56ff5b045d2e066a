#!/usr/bin/env bash
# Checks docker-compose.yml and deploy/kubernetes/ without a cluster: `docker-compose config` (Debian) and
# `kubernetes-validate` (PyPI, which carries the schemas), installed into build/validate where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v docker-compose >/dev/null || { echo "docker-compose is missing: apt-get install docker-compose" >&2; exit 1; }
validate=$(command -v kubernetes-validate || true)
if [ -z "$validate" ]; then
  validate=build/validate/bin/kubernetes-validate
  [ -x "$validate" ] || {
    python3 -m venv build/validate
    build/validate/bin/pip install --quiet --disable-pip-version-check kubernetes-validate
  }
fi
docker-compose config --quiet
for file in deploy/kubernetes/*.yaml; do
  [ "$(basename "$file")" = kustomization.yaml ] || "$validate" --strict "$file"
done
echo "docker-compose.yml and deploy/kubernetes/ are valid"
