#!/usr/bin/env bash
# Write constraints.txt: what pip finds today for `.[dev]`, in a fresh environment.
# usage: deploy/lock.sh VENV (whose Python is used)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1/bin/python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input '.[dev]'
{
    echo "# The versions that Segue is tested with; \`make lock\` writes this file: it installs"
    echo "# \`.[dev]\` into an empty environment and keeps what \`pip freeze\` says, but Segue itself"
    echo "# and local labels (+cpu)."
    "$folder/venv/bin/python" -m pip freeze --exclude segue |
        sed -e 's/+[a-z0-9.]*$//' -e '/ @ /d' -e '/^-e /d'
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
