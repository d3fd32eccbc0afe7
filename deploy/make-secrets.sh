#!/usr/bin/env bash
# Make the containers' passwords, where they are absent.
# usage: deploy/make-secrets.sh FOLDER NAME...
#
# A container's user is another than yours, and a file that is mounted as a secret keeps its mode:
# the files are readable by all, in a folder that is open to its owner alone.
set -euo pipefail

folder=$1
shift
(umask 077 && mkdir -p "$folder")
chmod 700 "$folder"
for name in "$@"; do
    [ ! -e "$folder/$name" ] || continue
    password=$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')
    # A database that is there keeps the password that it was made with, and clients their token.
    case $name in
    postgres_password) variable=POSTGRES_PASSWORD ;;
    api_token) variable=SEGUE_API_TOKEN ;;
    *) variable= ;;
    esac
    if [ -n "$variable" ] && [ -f .env ]; then
        earlier=$(sed -n "s/^$variable=//p" .env)
        password=${earlier:-$password}
    fi
    printf %s "$password" >"$folder/$name.unfinished"
    chmod 444 "$folder/$name.unfinished"
    mv "$folder/$name.unfinished" "$folder/$name"
    echo "Made a random password: $folder/$name"
done
