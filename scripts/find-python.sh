#!/bin/sh
# Prints Python interpreters of 3.11 or newer, one a line: the default one first, then the newest other found.
# The Makefile takes the first to work with, and the last to test on as well.
#
# The default is the first one that was built with optimisations, which costs the gateway a fifth less CPU: distributions
# build theirs so, version managers often don't. Without one, the first that there is.
set -u
usable() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
version() { "$1" -c 'import sys; print("%d%03d" % sys.version_info[:2])'; }
optimised() {
    case $1 in /usr/bin/*) return 0 ;; esac
    "$1" -c 'import sys, sysconfig
sys.exit("--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))'
}

default=""
for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python3; do
    usable "$candidate" || continue
    if optimised "$candidate"; then default=$candidate; break; fi
    default=${default:-$candidate}
done
if [ -z "$default" ]; then
    echo "No Python 3.11 or newer found on PATH. Install one, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
fi
echo "$default"

newest=$default
for candidate in python3.14 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python3; do
    if usable "$candidate" && [ "$(version "$candidate")" -gt "$(version "$newest")" ]; then newest=$candidate; fi
done
[ "$newest" = "$default" ] || echo "$newest"
