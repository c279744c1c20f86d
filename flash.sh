#!/usr/bin/env bash
# Turns boards into relays. See ./flash.sh --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
trap 'exit 130' INT

usage() {
    cat <<'TEXT'
Usage: ./flash.sh [OPTION]...
       ./flash.sh --virtual N [OPTION]...

Turns the ESP32 that is plugged in into a relay, or updates the one it is. What it has of settings, identity and files
stays. The first run makes a Python environment in .venv; nothing else on this computer is changed.

  -p, --port PORT     this board, if there are several; --all: all of them at once
  --firmware FILE     MicroPython from this file; without it, from micropython.org
  --name NAME         how the relay is called
  --settings FILE     its settings, a file of `bitrelay config export` or `backup`
  --restore FILE      the settings of this backup, with --identity also its identity
  --erase             erase everything first: no settings, identity or file stays
  --dry-run           do everything but write
  --json              end with one line of JSON

These and some more are the options of `bitrelay flash`: .venv/bin/bitrelay flash --help.

Without a board:

  --virtual N         flash N virtual boards, put them in a line with a phone at each end (3 show everything), send real
                      frames both ways and show how they fared; further options are those of `bitrelay lab demo`:
  --frames K          frames sent each way
  --keep              leave the relays running and print their ports; Ctrl-C ends them
  --json              end with one line of JSON
  --micropython PATH  another MicroPython interpreter for the relays

  -h, --help          this text

Exit codes: docs/exit-codes.md.
TEXT
}

wrong() {
    printf 'flash.sh: %s\n' "$*" >&2
    exit 2
}

virtual=0
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
            virtual=1 boards=$2
            shift
            ;;
        --virtual=*) virtual=1 boards=${1#*=} ;;
        *) options+=("$1") ;;
    esac
    shift
done

# shellcheck source=host/venv.sh
. "$root/host/venv.sh"
if [ "$virtual" = 1 ]; then
    case $boards in "" | *[!0-9]* | 0*) wrong "--virtual needs a number of boards from 1 on, not '$boards'" ;; esac
    make_venv "$root" lab || exit 1
    exec "$venv/bin/bitrelay" lab demo --boards "$boards" ${options[@]+"${options[@]}"}
fi
make_venv "$root" || exit 1
exec "$venv/bin/bitrelay" flash ${options[@]+"${options[@]}"}
