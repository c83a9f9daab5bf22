# What every private server needs: a free port, a note of its settings, and processes that are truly gone.
# Sourced by scripts/servers/postgres and scripts/servers/rabbitmq; reads /proc, so Linux only.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# Ports from 10000 up to the ephemeral range, so that no outgoing connection of a test can hold one of them
# while a killed server is away.
free_port() {
  local port
  for _ in {1..200}; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
    # every socket of both families, in any state: TIME_WAIT is harmless to a listener but costs nothing to avoid
    grep -qsi ":$(printf '%04X' "$port") " /proc/net/tcp /proc/net/tcp6 || { echo "$port"; return; }
  done
  die "found no free port"
}

# alive PID: a zombie is not alive. Nobody may be there to reap an orphan (process 1 of a container).
alive() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  [[ ${stat##*) } != [ZX]* ]]
}

# parents: "PID PARENT" of every process, one a line. The name in stat may hold spaces and brackets: cut behind it.
parents() {
  local stat rest
  for stat in /proc/[0-9]*/stat; do
    { read -r rest <"$stat"; } 2>/dev/null || continue
    stat=${stat#/proc/}
    rest=${rest##*) }
    rest=${rest#* }
    echo "${stat%/stat} ${rest%% *}"
  done
}

# descendants PID: all processes below it, however deep.
descendants() {
  parents | awk -v root="$1" '
    { children[$2] = children[$2] " " $1 }
    function walk(pid,   list, count, i) {
      count = split(children[pid], list, " ")
      for (i = 1; i <= count; i++) { print list[i]; walk(list[i]) }
    }
    END { walk(root) }'
}

# gone SECONDS PID...: waits until none of them is alive; false when the time is over.
gone() {
  local end=$((SECONDS + $1)) pid
  shift
  for pid in "$@"; do
    while alive "$pid"; do
      ((SECONDS < end)) || return 1
      sleep 0.05
    done
  done
}

# kill9_tree PID: as if the machine lost power for this server alone. It is stopped first, so that it cannot
# start another child between the look and the kill.
kill9_tree() {
  local pids
  kill -STOP "$1" 2>/dev/null || return 0
  pids=$(descendants "$1")
  # shellcheck disable=SC2086 # a list of numbers
  kill -KILL "$1" $pids 2>/dev/null || true
  # shellcheck disable=SC2086
  gone 30 "$1" $pids || die "process $1 or one of its children survives SIGKILL"
}
