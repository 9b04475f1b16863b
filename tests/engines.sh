#!/usr/bin/env bash
# Starts further container engines beside the machine's own, each in a network of its own, and runs
# tests on them. As root on Debian: engines.sh [--slice] [--user UID] [KIND …] [-- TEST …]; all kinds
# where none is named, and all command tests. With --user the tests are run by that uid, on the
# engine of root, as a member of its socket's group.
set -euo pipefail
cd "$(dirname "$0")/.."

# KIND  where it is from  what it shows
kinds=(
  debian   # the machine's own dockerd: Docker 20.10 on Debian 12
  one-cpu  # the same on one CPU
  userns   # the same with userns-remap
  tls      # the same behind TLS, at an address
  newer    # Docker 28 that demands API 1.44, with containerd's image store, as Docker 29 does
  podman   # Podman 5
  podman4  # Podman 4, as the machine has it
  rootless # Podman as an ordinary user
)
place=${PARA_ENGINES:-/var/tmp/para-engines}
suite=sid
python=$PWD/.venv/bin/python
users=$place/users # an installation for whoever may not read this folder
failed=()
slice=
uid=

say() { printf '%s\n' "$*" >&2; }

# A namespace of the network, with a way out, for engine number $2.
network() {
  local name=para-$1 link=ve$2 net=10.98.$2
  ip netns add "$name" 2>/dev/null || return 0
  ip link add "$link" type veth peer name eth0 netns "$name"
  ip addr add "$net.1/24" dev "$link"
  ip link set "$link" up
  ip -n "$name" addr add "$net.2/24" dev eth0
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
  ip -n "$name" route add default via "$net.1"
  sysctl -qw net.ipv4.ip_forward=1
  iptables -t nat -A POSTROUTING -s "$net.0/24" -j MASQUERADE
  iptables -I FORWARD -i "$link" -j ACCEPT
  iptables -I FORWARD -o "$link" -j ACCEPT
}

no_network() {
  local link=ve$2 net=10.98.$2
  iptables -t nat -D POSTROUTING -s "$net.0/24" -j MASQUERADE 2>/dev/null || true
  iptables -D FORWARD -i "$link" -j ACCEPT 2>/dev/null || true
  iptables -D FORWARD -o "$link" -j ACCEPT 2>/dev/null || true
  ip link del "$link" 2>/dev/null || true
  ip netns del "para-$1" 2>/dev/null || true
}

# The root file system of a newer Debian, made once.
newer_debian() {
  local root=$place/$suite
  [ -e "$root/.ready" ] && return
  say "Making $root with debootstrap; this takes about a minute"
  mkdir -p "$place"
  debootstrap --variant=minbase \
    --include=docker.io,docker-cli,podman,catatonit,nftables,netavark,aardvark-dns,uidmap,passt,iptables,ca-certificates,iproute2,procps,git \
    "$suite" "$root" >"$place/$suite.log"
  touch "$root/.ready"
}

# Runs a program in the newer Debian, which sees the folders that tests work in.
in_newer_debian() {
  local root=$place/$suite folder=$1
  shift
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  # sessions are given the machine's certificates, which the engine must see at the same path
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  # shellcheck disable=SC2016 # the inner shell expands it
  exec unshare -m sh -c '
    root=$1 folder=$2; shift 2
    mount --make-rprivate /; mount --bind "$root" "$root"
    for seen in /tmp /root /home "$folder"; do mkdir -p "$root$seen"; mount --bind "$seen" "$root$seen"; done
    mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount --rbind /sys "$root/sys"
    mount -t tmpfs none "$root/run"
    cd "$root"; mkdir -p .old; pivot_root . .old; umount -l /.old; cd /
    PATH=/usr/sbin:/usr/bin:/sbin:/bin exec "$@"' sh "$root" "$folder" "$@"
}

# Installs para and copies its tests where any user can read them.
installation_for_users() {
  say "Installing para in $users"
  rm -rf "$users"
  mkdir -p "$users/source"
  cp -r para_server images tests pyproject.toml README.md LICENSE "$users/source"
  # a Python that lies in root's home is of no use to others
  PATH=/usr/bin:/bin python3 -m venv "$users/venv"
  "$users/venv/bin/pip" install --quiet --disable-pip-version-check "$users/source[dev]"
  rm -r "$users/source/para_server" "$users/source/images"
  chmod -R a+rX "$users"
  python=$users/venv/bin/python
  cd "$users/source"
}

# Starts engine $1, number $2; what reaches it is in `reach`, and as whom tests run in `as`.
start() {
  local kind=$1 number=$2 folder=$place/$1
  mkdir -p "$folder"
  local socket=$folder/docker.sock
  local daemon=(dockerd --data-root "$folder/data" --exec-root "$folder/exec"
    --pidfile "$folder/dockerd.pid" -H "unix://$socket")
  local podman=(podman --runtime "$folder/runc" --root "$folder/data" --runroot "$folder/exec" system service -t 0 "unix://$socket")
  local inside=(nsenter "--net=/var/run/netns/para-$kind")
  local newer=no
  as=()
  if [ -n "$uid" ]; then
    as=(setpriv "--reuid=$uid" "--regid=$uid" --clear-groups env "USER=para-$uid" "LOGNAME=para-$uid")
  fi
  runtime "$folder/runc"
  reach=("DOCKER_HOST=unix://$socket")
  network "$kind" "$number"
  case $kind in
    debian) ;;
    one-cpu) daemon=(taskset -c 0 "${daemon[@]}") ;;
    userns) daemon+=(--userns-remap=default) ;;
    tls)
      certificates "$folder/tls" "10.98.$number.2"
      daemon+=(-H "tcp://10.98.$number.2:2376" --tlsverify "--tlscacert=$folder/tls/ca.pem"
        "--tlscert=$folder/tls/server.pem" "--tlskey=$folder/tls/server-key.pem")
      reach=("DOCKER_HOST=tcp://10.98.$number.2:2376" DOCKER_TLS_VERIFY=1 "DOCKER_CERT_PATH=$folder/tls")
      ;;
    newer)
      newer=yes
      echo '{"features": {"containerd-snapshotter": true}}' >"$folder/daemon.json"
      daemon=(env DOCKER_MIN_API_VERSION=1.44 "${daemon[@]}" --config-file "$folder/daemon.json")
      ;;
    podman) newer=yes daemon=("${podman[@]}") ;;
    podman4)
      command -v podman >/dev/null || { say "podman is not installed"; return 1; }
      daemon=("${podman[@]}")
      ;;
    rootless)
      command -v podman >/dev/null || { say "podman is not installed"; return 1; }
      user=para-rootless
      id -u "$user" >/dev/null 2>&1 || useradd -m "$user"
      chown -R "$user:" "$folder"
      daemon=(setpriv "--reuid=$user" "--regid=$user" --init-groups env "HOME=/home/$user"
        "XDG_RUNTIME_DIR=$folder" "${podman[@]}")
      as=(setpriv "--reuid=$user" "--regid=$user" --init-groups env "USER=$user" "LOGNAME=$user")
      ;;
  esac
  rm -f "$socket"
  if [ $newer = yes ]; then
    newer_debian
    export -f in_newer_debian
    place=$place suite=$suite setsid "${inside[@]}" bash -c 'in_newer_debian "$@"' bash "$folder" \
      "${daemon[@]}" >"$folder/log" 2>&1 &
  else
    setsid "${inside[@]}" "${daemon[@]}" >"$folder/log" 2>&1 &
  fi
  started=$!
  for _ in {1..240}; do
    if env "${reach[@]}" docker version >/dev/null 2>&1; then
      chmod g+rw "$socket" # Podman lets in nobody but its own user
      let_in "$socket" "$folder/tls/key.pem"
      return
    fi
    kill -0 "$started" 2>/dev/null || break
    sleep 0.25
  done
  tail -n 20 "$folder/log" >&2
  return 1
}

# Makes a runtime for Podman, which asks for higher limits than a nested machine may set.
runtime() {
  cat >"$1" <<'RUNTIME'
#!/usr/bin/perl
# runc, with limits that are cut to those of this process.
use JSON::PP;
my %most = (NOFILE => 'n', NPROC => 'u');
for my $k (0 .. $#ARGV - 1) {
  my $file = $ARGV[$k] eq '--bundle' ? "$ARGV[$k + 1]/config.json" : $ARGV[$k] eq '--process' ? $ARGV[$k + 1] : next;
  local $/; open(my $in, '<', $file) or next;
  my $spec = decode_json(<$in>);
  for my $limit (@{($spec->{process} // $spec)->{rlimits} // []}) {
    my $letter = $most{$limit->{type} =~ s/RLIMIT_//r} or next;
    chomp(my $hard = `bash -c 'ulimit -H$letter'`);
    next if $hard eq 'unlimited';
    for (qw(hard soft)) { $limit->{$_} = $hard + 0 if $limit->{$_} > $hard }
  }
  open(my $out, '>', $file) or die; print $out encode_json($spec); close $out;
}
exec 'runc', @ARGV;
RUNTIME
  chmod 755 "$1"
}

# Lets the user who runs the tests have what there is of these files.
let_in() {
  local file
  [ -n "$uid" ] || return 0
  for file; do
    [ -e "$file" ] || continue
    chgrp "$uid" "$file"
    chmod g+rw "$file"
  done
}

# Ends engine $1, number $2, by the pids that it was started with.
stop() {
  if [ -n "${started:-}" ]; then
    # those of Podman would go on without it
    env "${reach[@]}" docker ps --all --quiet | timeout 60 xargs -r env "${reach[@]}" docker rm -f >/dev/null || true
    kill -TERM -- "-$started" 2>/dev/null || kill -TERM "$started" 2>/dev/null || true
    for _ in {1..80}; do kill -0 "$started" 2>/dev/null || break; sleep 0.25; done
  fi
  started=
  no_network "$1" "$2"
  # what an engine leaves mounted that was killed
  awk -v below="$place/$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    xargs -r umount -l || true
  rm -rf --one-file-system "${place:?}/$1/data" "${place:?}/$1/exec"
}

certificates() {
  mkdir -p "$1"
  (
    cd "$1"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 30 -subj /CN=ca
    for name in server client; do
      openssl req -newkey rsa:2048 -nodes -keyout $name-key.pem -out $name.csr -subj "/CN=$name"
      printf 'subjectAltName=IP:%s\nextendedKeyUsage=serverAuth,clientAuth' "$2" >$name.ext
      openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
        -out $name.pem -days 30 -extfile $name.ext
    done
    cp client.pem cert.pem
    cp client-key.pem key.pem
  ) >/dev/null 2>&1
}

# Runs the tests on the engine that `reach` reaches.
try() {
  local kind=$1
  if [ ${#tests[@]} -eq 0 ]; then
    tests=(tests/commands --deselect tests/commands/test_agent_images.py)
    if [ -n "$slice" ]; then tests=(tests/commands/test_life.py); fi
  fi
  local source=${DOCKER_HOST:-unix:///var/run/docker.sock}
  docker --host "$source" save debian:bookworm-slim para-base:latest |
    env "${reach[@]}" docker load --quiet >/dev/null
  # in the engine's network, so that its containers and the tests have one loopback; without CI
  # what needs root is left out where a user runs the tests
  nsenter "--net=/var/run/netns/para-$kind" "${as[@]}" \
    env -u CI "${reach[@]}" PYTHONDONTWRITEBYTECODE=1 \
    "$python" -m pytest -q -p no:cacheprovider --loaded "${tests[@]}"
}

[ "$(id -u)" = 0 ] || { say "Engines are started as root"; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    --slice) slice=yes ;;
    --user) uid=$2; shift ;;
    --) break ;;
    -*) say "engines.sh: what is $1?"; exit 2 ;;
    *) break ;;
  esac
  shift
done
chosen=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do chosen+=("$1"); shift; done
tests=("${@:2}")
[ ${#chosen[@]} -gt 0 ] || chosen=("${kinds[@]}")
if [ -n "$uid" ] || [[ " ${chosen[*]} " = *" rootless "* ]]; then installation_for_users; fi
for kind in "${chosen[@]}"; do
  if [ -n "$uid" ] && [ "$kind" = userns ]; then
    say "== userns: refuses an ordinary user, as tests/commands/test_owners.py shows with root"
    continue
  fi
  number=100
  for known in "${kinds[@]}"; do
    number=$((number + 1))
    [ "$known" = "$kind" ] && break
  done
  say "== $kind"
  trap 'stop "$kind" "$number"' EXIT
  if start "$kind" "$number" && try "$kind"; then say "== $kind: passed"; else failed+=("$kind"); fi
  stop "$kind" "$number"
  trap - EXIT
done
if [ ${#failed[@]} -gt 0 ]; then
  say "Failed on: ${failed[*]}"
  exit 1
fi
