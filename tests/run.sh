#!/usr/bin/env bash
# Everything that must hold before a change goes in: ruff, mypy, pytest. Arguments go to pytest. Needs only Python.
# Three processes share the tests, file by file, since most tests wait most of the time; -n 0 runs them in one.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root" || exit 1
trap 'exit 130' INT

# shellcheck source=../host/venv.sh
. "$root/host/venv.sh"
make_venv "$root" lab test || exit 1
export PATH="$venv/bin:$PATH"

failed=""
check() {
    local name=$1
    shift
    printf -- '--- %s\n' "$name"
    "$@" || failed="$failed${failed:+, }$name"
}
check "ruff check" ruff check .
check "ruff format" ruff format --check .
check "mypy" mypy

# pytest's summary tells it again, where it is seen: tests/conftest.py.
printf -- '--- pytest\n'
BITRELAY_CHECKS_FAILED="$failed" python -m pytest -n 3 --dist loadfile "$@"
status=$?
[ "$status" = 0 ] && [ -n "$failed" ] && status=1
exit "$status"
