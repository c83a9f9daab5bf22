# Podman with settings and a store of its own, so that nothing of the machine's containers is seen or touched.
# Sourced by scripts/container.
# shellcheck shell=bash disable=SC2034,SC2154 # variables go from one file to the other

# By the environment, for podman-compose too, which calls podman.
enter_podman() {
  mkdir -p "$cache"/{networks,tmp}
  local other=
  { read -r other <"$cache/pid"; } 2>/dev/null || true
  [[ -z $other || ! -e /proc/$other ]] || ! grep -qsF scripts/container "/proc/$other/cmdline" ||
    die "process $other is at it already"
  echo $$ >"$cache/pid"

  # A short name means here what it means to Docker.
  echo 'unqualified-search-registries = ["docker.io"]' >"$cache/registries.conf"
  settings >"$cache/containers.conf"
  export CONTAINERS_CONF=$cache/containers.conf CONTAINERS_STORAGE_CONF=$cache/storage.conf
  export CONTAINERS_REGISTRIES_CONF=$cache/registries.conf
  # where podman build keeps what the Dockerfile mounts as a cache
  export TMPDIR=$cache/tmp
  [[ -f $cache/storage.conf ]] || choose_storage
}

settings() {
  local nproc pid_max
  nproc=$(ulimit -Hu)
  pid_max=$(cat /proc/sys/kernel/pid_max)
  [[ $nproc != unlimited ]] && ((nproc < pid_max)) || nproc=$pid_max
  echo '[containers]'
  # no more than this shell has: a container of root would be given more, which is not allowed everywhere
  echo "default_ulimits = [\"nofile=$(ulimit -Sn):$(ulimit -Hn)\", \"nproc=$nproc:$nproc\"]"
  echo 'log_driver = "k8s-file"'
  echo '[engine]'
  echo 'events_logger = "file"'
  echo 'lock_type = "file"'
  echo "tmp_dir = \"$cache/run/libpod\""
  if ((EUID == 0)); then
    # works with systemd and without
    echo 'cgroup_manager = "cgroupfs"'
    ! command -v runc >/dev/null || echo 'runtime = "runc"'
  fi
  echo '[network]'
  echo "network_config_dir = \"$cache/networks\""
}

# Overlays where the machine allows them; otherwise whole copies, which are slow and large.
choose_storage() {
  local driver
  for driver in overlay vfs; do
    printf '[storage]\ndriver = "%s"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$driver" "$cache" "$cache" >"$cache/storage.conf"
    ! podman info >/dev/null 2>"$work/podman" || return 0
    rm -rf "$cache/storage.conf" "$cache/store" "$cache/run"
  done
  cat "$work/podman" >&2
  die "podman does not work here"
}

# The machine's own podman.
podman_of_the_machine() {
  env -u CONTAINERS_CONF -u CONTAINERS_STORAGE_CONF -u CONTAINERS_REGISTRIES_CONF -u TMPDIR podman "$@"
}

compose() {
  quietly env --chdir="$work/bellhop" podman-compose --project-name "$project" "$@"
}

# from_compose KEY...: what stands there in compose.yaml; of a list or a table, one entry or key a line.
from_compose() {
  /usr/bin/python3 - "$@" <<'PYTHON'
import sys, yaml

value = yaml.safe_load(open("compose.yaml", encoding="utf-8"))
for key in sys.argv[1:]:
    value = value.get(key, [])
print(*(value if isinstance(value, (list, dict)) else [value]), sep="\n")
PYTHON
}

free_ports() {
  local port
  for port in 8080 8025; do
    ! { : <"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || die "something listens on port $port, which compose.yaml publishes"
  done
}

# What the services said last, for somebody who wants to know why it went wrong.
last_words() {
  local service id
  for service in "${services[@]}"; do
    id=$(container "$service" 2>/dev/null) || true
    [[ -n $id ]] || continue
    printf '\n==> %s said last:\n' "$service"
    podman logs --tail 25 "$id" 2>&1 || true
  done >&2
  [[ ! -s $work/health ]] || { echo; echo "==> the last health check said:"; cat "$work/health"; } >&2
}

# All that runs in this store; the images stay. Without systemd there is a line about each health check that it has not set up.
clear_all() {
  { podman rm --all --force --time 0 && podman volume rm --all --force && podman network prune --force; } >"$work/output" 2>&1 ||
    cat "$work/output" >&2
}

# Not by podman's own reset, which ends virtual machines too, whosever they are.
forget() {
  [[ -d $cache ]] || return 0
  enter_podman
  clear_all
  quietly podman image rm --all --force
  # shellcheck disable=SC2016 # $0 is for the inner shell
  local remove=(bash -c 'umount "$0/store/overlay" 2>/dev/null; rm -rf --one-file-system "$0"' "$cache")
  if ((EUID == 0)); then "${remove[@]}"; else podman unshare "${remove[@]}"; fi
}
