#!/usr/bin/env bash
# Ensures that a container engine answers, and prints its address for DOCKER_HOST: an empty line if
# the client's default address answers. Messages go to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

pid_file=/var/run/docker.pid
containerd_pid_file=/var/run/docker/containerd/containerd.pid
log=$PWD/.cache/dockerd.log

info() { printf '%s\n' "$*" >&2; }

fail() {
  info "$@"
  exit 1
}

# Checks the docker client's default address (DOCKER_HOST, or the current context).
client_answers() {
  command -v docker >/dev/null || return 1
  # Without `timeout` (macOS), the client's own timeouts apply.
  $(command -v timeout >/dev/null && echo timeout 10) docker version >/dev/null 2>&1
}

# Checks a socket, in Python since a machine with Podman may not have the docker client.
socket_answers() {
  [ -S "$1" ] && python3 - "$1" 2>/dev/null <<'PYTHON'
import socket, sys
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(10)
    engine.connect(sys.argv[1])
    engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
    sys.exit(b" 200 " not in engine.recv(64))
PYTHON
}

# Prints the address of the first engine that answers, in the order in which para tries them.
find_engine() {
  if client_answers; then
    echo "${DOCKER_HOST:-}"
    return
  fi
  local path runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} given=${DOCKER_HOST:-}
  # An address that is set is the only one that is tried.
  if [ -n "$given" ]; then
    socket_answers "${given#unix://}" && echo "$given"
    return
  fi
  for path in /var/run/docker.sock "$runtime/docker.sock" \
    "$HOME/.docker/run/docker.sock" "$runtime/podman/podman.sock" /run/podman/podman.sock; do
    if socket_answers "$path"; then
      echo "unix://$path"
      return
    fi
  done
  return 1
}

on_debian() {
  [ -r /etc/os-release ] || return 1
  # shellcheck source=/dev/null
  case $(. /etc/os-release && echo "$ID") in debian | ubuntu) command -v apt-get >/dev/null ;; *) return 1 ;; esac
}

# Checks whether the pid in file $1 is a process that runs program $2. A zombie process has no
# program.
is_running() {
  [ -r "$1" ] || return 1
  case $(readlink "/proc/$(cat "$1")/exe") in */"$2" | */"$2 (deleted)") ;; *) return 1 ;; esac
}

install_engine() {
  info "Installing Debian's docker.io (apt-get install)"
  export DEBIAN_FRONTEND=noninteractive
  # A list that cannot be fetched may not be needed: the installation shows whether it is.
  apt-get update -qq >&2 || info "Some package lists could not be fetched; continuing without them"
  local packages=(docker.io iproute2 iptables ca-certificates)
  # Newer releases have the client in a separate package.
  if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
  # Installed packages are not upgraded: an upgrade of ca-certificates, for example, would rewrite the
  # machine's certificate bundle.
  apt-get install -y -qq --no-upgrade --no-install-recommends -o Dpkg::Use-Pty=0 \
    "${packages[@]}" >&2
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    systemctl start docker
    return
  fi
  # A killed dockerd leaves these files, and a pid may belong to another process by now. dockerd would
  # refuse to start because of its own, and wait forever for the containerd of the other.
  is_running "$containerd_pid_file" containerd || rm -f "$containerd_pid_file"
  if is_running "$pid_file" dockerd; then return; fi
  rm -f "$pid_file"
  info "Starting dockerd; its log: $log"
  mkdir -p "${log%/*}"
  (
    # dockerd outlives this script, so it must not inherit the lock or make's job pipes. Bash closes
    # its own descriptor 255.
    for fd in "/proc/$BASHPID/fd/"*; do
      fd=${fd##*/}
      if [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ]; then exec {fd}>&-; fi
    done
    cd /
    exec setsid nohup dockerd </dev/null >"$log" 2>&1
  ) &
  started=$!
}

wait_for_engine() {
  local end=$((SECONDS + 60))
  until find_engine; do
    if [ -n "$started" ] && ! kill -0 "$started" 2>/dev/null; then break; fi
    if [ $SECONDS -ge $end ]; then break; fi
    sleep 0.2
  done
}

if find_engine; then exit; fi

# DOCKER_HOST may name a socket that dockerd listens on by default.
case ${DOCKER_HOST:-unix:///var/run/docker.sock} in
unix:///var/run/docker.sock | unix:///run/docker.sock) ;;
*) fail "No engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST" ;;
esac
if [ "$(id -u)" -ne 0 ]; then
  if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    fail "You have no permission to use the engine's socket /var/run/docker.sock. Run: sudo usermod -aG docker $(id -un), then log in again"
  fi
  fail "No container engine answers. Start Docker or Podman (systemctl --user start podman.socket), or install one: sudo apt-get install docker.io"
fi
on_debian || command -v dockerd >/dev/null ||
  fail "No container engine answers. Install Docker (docs.docker.com/engine/install) or Podman, start it, and try again"

exec 9>/run/para-engine.lock
flock -w 600 9 || fail "Another process has been setting up the engine for ten minutes: /run/para-engine.lock"
# Another process may have started it while this one waited for the lock.
if find_engine; then exit; fi

info "No container engine answers on this machine"
started=""
command -v dockerd >/dev/null || install_engine 9>&-
start_engine
host=$(wait_for_engine)
if ! find_engine >/dev/null; then
  if [ -r "$log" ]; then tail -n 30 "$log" >&2; fi
  fail "dockerd does not answer after $SECONDS s; its log: $log"
fi
info "The engine answers after $SECONDS s"
echo "$host"
