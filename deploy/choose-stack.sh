#!/usr/bin/env bash
# Print how to run the stack here: `docker` if an engine answers and compose exists, else `local`.
set -euo pipefail

has_engine() {
    command -v docker >/dev/null || return 1
    docker compose version >/dev/null 2>&1 || return 1
    # A client without an engine may still exit with 0: ask for what only the engine knows.
    [ -n "$(docker info --format '{{.ServerVersion}}' 2>/dev/null)" ]
}

if has_engine; then echo docker; else echo local; fi
