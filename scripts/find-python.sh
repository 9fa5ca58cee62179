#!/bin/sh
# Prints the path of a Python 3.11 or newer that can make a virtual environment, or says what is missing.
#
# Names on PATH are tried, not trusted: a version manager leaves shims there that start nothing, and a
# distribution may ship python3 without venv.  PYTHON=... chooses one, and then no other is tried.
set -u

probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import ssl, tomllib, venv, ensurepip
print(getattr(sys, "_base_executable", None) or sys.executable)
'

try() {
    found=$("$1" -c "$probe" 2>/dev/null) && [ -n "$found" ] && printf '%s\n' "$found"
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON" && exit 0
    echo "PYTHON=$PYTHON is no Python 3.11 or newer with the modules venv, ensurepip and ssl." >&2
    exit 1
fi

for name in python3 python python3.14 python3.13 python3.12 python3.11; do
    command -v "$name" >/dev/null 2>&1 && try "$name" && exit 0
done
for path in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.1[1-9]*/bin/python3 \
    /usr/local/bin/python3* /opt/homebrew/bin/python3* /usr/bin/python3*; do
    [ -x "$path" ] && try "$path" && exit 0
done
if command -v uv >/dev/null 2>&1; then
    path=$(uv python find '>=3.11' 2>/dev/null) && try "$path" && exit 0
fi

cat >&2 <<'END'
No Python 3.11 or newer with the modules venv, ensurepip and ssl was found.
Install one (on Debian and Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3 ...
END
exit 1
