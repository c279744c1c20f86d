#!/usr/bin/env bash
# Turns boards into relays. See ./flash.sh --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
trap 'exit 130' INT

usage() {
    cat <<'TEXT'
Usage: ./flash.sh --virtual N [OPTION]...

Starts N virtual relays in a line with a phone at each end, sends real frames both ways and shows how they fared.
The first run makes a Python environment in .venv; nothing else on this computer is changed.

  --virtual N         how many relays (a line of 3 shows everything)
  --frames K          frames sent each way
  --keep              leave the relays running and print their ports; Ctrl-C ends them
  --json              end with one line of JSON
  --micropython PATH  another MicroPython interpreter for the relays
  -h, --help          this text

Every option but --virtual is one of `bitrelay lab demo`. Real boards cannot be flashed with this version.
Exit codes: docs/exit-codes.md.
TEXT
}

wrong() {
    printf 'flash.sh: %s\n' "$*" >&2
    exit 2
}

boards=""
options=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --virtual)
            [ $# -ge 2 ] || wrong "--virtual needs the number of boards, for example: ./flash.sh --virtual 3"
            boards=$2
            shift
            ;;
        --virtual=*) boards=${1#*=} ;;
        *) options+=("$1") ;;
    esac
    shift
done
if [ -z "$boards" ]; then
    wrong "real boards cannot be flashed with this version; virtual ones: ./flash.sh --virtual 3"
fi
case $boards in *[!0-9]* | 0*) wrong "--virtual needs a number of boards from 1 on, not '$boards'" ;; esac

# shellcheck source=host/venv.sh
. "$root/host/venv.sh"
make_venv "$root" lab || exit 1
exec "$venv/bin/bitrelay" lab demo --boards "$boards" ${options[@]+"${options[@]}"}
