# Makes the clone's own Python environment. Sourced by flash.sh and tests/run.sh; speaks on stderr only.
#
#   make_venv ROOT [EXTRA]...   installs ROOT with these extras into ROOT/.venv unless that is done already;
#                               sets venv to the directory.
#
# BITRELAY_VENV names another directory. Works with bash 3.2, which macOS has.

# The interpreter of the virtual boards comes as wheels for these releases of CPython.
_python_oldest=11
_python_newest=14

make_venv() {
    local root=$1
    shift
    venv=${BITRELAY_VENV:-$root/.venv}
    unset PYTHONHOME PYTHONPATH
    local made=$venv/bitrelay-made installed=$venv/bitrelay-installed
    local state done_state="" done_extras="" extras extra missing=0
    state=$(cat "$root/pyproject.toml" "$root/host/venv.sh" | cksum | tr ' ' -)
    [ -f "$installed" ] && read -r done_state done_extras <"$installed"
    extras=$done_extras
    for extra in "$@"; do
        case " $extras " in *" $extra "*) ;; *) extras="${extras:+$extras }$extra" missing=1 ;; esac
    done
    # The path is in it: an environment does not survive its clone being moved.
    if [ ! -f "$made" ] || [ "$(cat "$made")" != "$root" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        _make "$root" || return 1
    elif [ "$missing" = 0 ] && [ "$done_state" = "$state" ]; then
        return 0
    fi
    _say "Installing into $venv (up to a minute or two)"
    rm -f "$installed"
    _install "$root" "$extras" || return 1
    printf '%s %s\n' "$state" "$extras" >"$installed"
    _say "  done"
}

_make() {
    local python said
    python=$(_find_python) || return 1
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
        _fail "$venv is in the way: it is not a Python environment" || return 1
    fi
    _say "Making $venv with $("$python" --version) ($(command -v "$python"))"
    if ! said=$("$python" -m venv --clear "$venv" 2>&1); then
        _fail "could not make $venv: ${said##*
}" || return 1
    fi
    printf '%s\n' "$1" >"$venv/bitrelay-made"
}

_install() {
    local log=$venv/install.log line what=$1${2:+[${2// /,}]}
    if "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --editable "$what" 2>&1 | tee "$log" | while IFS= read -r line; do
        case $line in
            Collecting\ *) line=${line#Collecting } && _say "  ${line%%[<>=!~;[ ]*}" ;;
            Installing\ collected\ *) _say "  installing" ;;
        esac
    done && [ "${PIPESTATUS[0]}" = 0 ]; then
        return 0
    fi
    tail -n 15 "$log" >&2
    _fail "the installation failed; its last lines are above, all of it is in $log"
}

_find_python() {
    local python newest=$_python_newest names=python3
    while [ "$newest" -ge "$_python_oldest" ]; do
        names="$names python3.$newest"
        newest=$((newest - 1))
    done
    local without_venv=""
    for python in $names python; do
        "$python" -c "import sys; sys.exit(not (3, $_python_oldest) <= sys.version_info[:2] <= (3, $_python_newest))" \
            >/dev/null 2>&1 || continue
        if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$python"
            return 0
        fi
        without_venv=$python
    done
    if [ -n "$without_venv" ]; then
        _fail "$without_venv has no venv module; on Debian and Ubuntu: sudo apt install python3-venv"
    else
        _fail "Python 3.$_python_oldest to 3.$_python_newest is needed and not found (tried: $names python)"
    fi
}

_say() {
    printf '%s\n' "$*" >&2
}

_fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    return 1
}
