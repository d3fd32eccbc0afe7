#!/usr/bin/env bash
# Create a virtual environment, if it is not there, and install Segue with its tools into it.
# usage: deploy/install.sh VENV
set -euo pipefail

venv=$1
is_usable='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'

# An activated environment or a PYTHONPATH must not leak into the new one.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14; do
        if [ -n "$candidate" ] && "$candidate" -c "$is_usable" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "Segue needs Python 3.11 or newer with its venv module (Debian: apt install" \
        "python3-venv); found $(python3 --version 2>/dev/null || echo none)." \
        "Set PYTHON to one that it did not find." >&2
    return 1
}

if ! "$venv/bin/python" -c "$is_usable" >/dev/null 2>&1; then
    python=$(find_python)
    echo "Creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
echo "Installing Segue and its tools into $venv (the first time takes some minutes)"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input \
    --constraint constraints.txt --editable '.[dev]'
