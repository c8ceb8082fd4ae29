# Sourced by every examples/NAME/run. Gives an example a stack, a home and a Python of its own, types
# its commands, and stops and removes everything at the end, whatever happened.
#
#   say TEXT          a heading
#   t COMMAND         shows the command and runs it; the example ends when it fails
#   quiet COMMAND     the same without a trace
#   fail TEXT         ends the example with a reason
#   in_background CMD a process that is stopped at the end
#   keep FILE …       copies results to where they stay, and says where
#   finish            the last line of a run
#
# The programs in examples/NAME/code are seen as /code by pipelines whose image is tusk-examples/NAME,
# and their `python3` has the packages of examples/NAME/requirements.txt: see image_table.
set -euo pipefail

EXAMPLES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
EXAMPLE=$(cd "$(dirname "$0")" && pwd)
NAME=$(basename "$EXAMPLE")
ROOT=$(dirname "$EXAMPLES")
CACHE=${TUSK_EXAMPLES_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/tusk-examples}
VENV=
BOLD= PLAIN=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; fi

fail() {
  echo "examples/$NAME: $*" >&2
  exit 1
}

say() { printf '\n%s# %s%s\n' "$BOLD" "$*" "$PLAIN"; }

t() {
  printf '\n%s$ %s%s\n' "$BOLD" "$1" "$PLAIN"
  # As in the shell of who types it: `| head` is no failure.
  set +o pipefail
  eval "$1" || fail "that command failed (exit code $?)"
  set -o pipefail
  case $1 in *flush*) no_failed_job ;; esac
}

# A job that failed ends the example, with its reason and its last lines.
no_failed_job() {
  local job
  job=$(tusk list job --no-pager | awk '/ (failure|killed)/ { print $1; exit }')
  [ -z "$job" ] || {
    tusk inspect job "$job" && tusk logs -j "$job" | tail -n 30
    fail "job $job failed"
  }
}

quiet() { "$@" || fail "this command failed (exit code $?): $*"; }

BACKGROUND=()
in_background() {
  "$@" >"$WORK/background.log" 2>&1 &
  BACKGROUND+=($!)
}

# The Python with the example's packages: TUSK_EXAMPLES_PYTHON as it is, the system's if it has
# exactly these versions, else a virtual environment that is kept for the next time.
find_python() {
  local list=$EXAMPLE/requirements.txt python
  PYTHON=
  [ -f "$list" ] || return 0
  if [ -n "${TUSK_EXAMPLES_PYTHON:-}" ]; then
    PYTHON=$TUSK_EXAMPLES_PYTHON
    return
  fi
  for python in python3 /usr/bin/python3; do
    command -v "$python" >/dev/null && "$python" -c 'import venv, ensurepip' 2>/dev/null && break
    python=
  done
  [ -n "$python" ] ||
    fail "needs Python 3.11 or newer with venv. Install it, then run this again:
  sudo apt-get install -y --no-install-recommends python3 python3-venv"
  PYTHON=$python
  if "$python" "$EXAMPLES/has-packages.py" "$list"; then return; fi
  VENV=$CACHE/$("$python" -c 'import hashlib, sys
print(hashlib.sha256(sys.version.encode() + open(sys.argv[1], "rb").read()).hexdigest()[:12])' "$list")
  PYTHON=$VENV/bin/python3
  mkdir -p "$CACHE"
  (
    # Two examples at once need not both install.
    if command -v flock >/dev/null; then flock 9; fi
    [ -e "$VENV/ready" ] && exit
    echo "Installing the Python packages of $NAME into $VENV (once) …"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$list" ||
      fail "could not install the packages of $list; with them in a Python of your own, set TUSK_EXAMPLES_PYTHON"
    touch "$VENV/ready"
  ) 9>"$CACHE/lock"
  [ -e "$VENV/ready" ] || exit 1
}

# What stands for the image tusk-examples/NAME on a machine without containers: the host, with the
# code at /code and the packages at /venv (docs/worker.md, Images).
image_table() {
  local mounts='' first=''
  [ -d "$EXAMPLE/code" ] && mounts="\"/code\": $(json "$EXAMPLE/code")"
  if [ -n "$VENV" ]; then
    mounts="$mounts, \"/venv\": $(json "$VENV")" first=/venv/bin:
  elif [ -n "$PYTHON" ]; then
    first=$(dirname "$(command -v "$PYTHON")"):
  fi
  cat <<JSON
{
  "images": [
    {
      "pattern": "tusk-examples/$NAME*",
      "as": "host",
      "mounts": { $mounts },
      "env": {
        "PATH": $(json "$first/usr/local/bin:/usr/bin:/bin"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1"
      }
    }
  ]
}
JSON
}

json() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }

stop_everything() {
  local status=$?
  trap - EXIT
  for pid in "${BACKGROUND[@]}"; do kill "$pid" 2>/dev/null || true; done
  if [ -e "$WORK/stack/stack.json" ]; then
    "$ROOT/cli/bin/tusk" down --data-dir "$WORK/stack" >/dev/null || true
  fi
  if [ "$status" = 0 ]; then rm -rf "$WORK"; else echo "Its files and logs are kept in $WORK" >&2; fi
  exit "$status"
}

# start_stack SLOTS: a stack of the example's own; the working directory is a copy of its folder.
start_stack() {
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/tusk-$NAME.XXXXXX")
  trap stop_everything EXIT
  trap 'exit 130' INT TERM
  [ -e "$ROOT/dist/cli.cjs" ] || (cd "$ROOT" && npm ci --no-audit --no-fund && npm run --silent build)
  find_python
  mkdir "$WORK/home"
  cp -R "$EXAMPLE" "$WORK/$NAME"
  cd "$WORK/$NAME"
  image_table >"$WORK/images.json"
  export HOME=$WORK/home PATH=${VENV:+$VENV/bin:}$ROOT/cli/bin:$PATH TUSK_CONTAINER_ENGINE=none NO_COLOR=1
  export PACH_CONFIG=$WORK/config.json
  unset PACHD_ADDRESS
  quiet tusk up --detach --data-dir "$WORK/stack" --port 0 --s3-gateway-port 0 --http-port 0 \
    --workers "$1" --images "$WORK/images.json" >"$WORK/up.log"
  PACHD_ADDRESS=$(sed -n 's/.*"address": *"\([^"]*\)".*/\1/p' "$WORK/stack/stack.json")
  export PACHD_ADDRESS
  STARTED=$SECONDS
}

keep() {
  local results=$CACHE/results/$NAME
  mkdir -p "$results"
  cp "$@" "$results"
  for file in "$@"; do echo "# to look at: $results/$(basename "$file")"; done
}

finish() { say "examples/$NAME: all as expected ($((SECONDS - STARTED)) s)"; }

# `run --prepare`: for who types the commands by hand.
if [ "${1:-}" = --prepare ]; then
  find_python
  mkdir -p "$CACHE"
  image_table >"$CACHE/$NAME.json"
  [ -z "$VENV" ] || echo "export PATH=$VENV/bin:\$PATH"
  echo "tusk up --detach --workers ${SLOTS:-4} --images $CACHE/$NAME.json"
  exit
fi
