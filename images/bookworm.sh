#!/usr/bin/env bash
# Ensures that the engine has debian:bookworm-slim: pulls it, or, as root on Debian or Ubuntu without
# access to a registry, builds it from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

image=debian:bookworm-slim
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
host=$(images/engine.sh)
if [ -n "$host" ]; then export DOCKER_HOST=$host; fi

info() { printf '%s\n' "$*" >&2; }

engine=(docker)
if ! command -v docker >/dev/null; then engine=(podman --remote --url "$host"); fi

has_image() { "${engine[@]}" image inspect "$image" >/dev/null 2>&1; }

can_build() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

pull() {
  info "Pulling $image"
  local limit=()
  # Don't wait minutes for an unreachable registry if the image can be built.
  if can_build; then limit=(timeout -k 5 60); fi
  "${limit[@]}" "${engine[@]}" pull -q "$image" >&2
}

# Prints the machine's package sources for Debian 12 as lines of a sources.list, if it has any.
list_sources() {
  # shellcheck disable=SC2016 # the variables are apt's
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' |
    awk '$2 ~ /^https?:/ && $3 ~ /^bookworm(-updates|-security)?$/ && $4 == "main" && !seen[$0]++'
}

build_image() {
  local root sources mirror
  if ! command -v debootstrap >/dev/null || ! [ -e "$keyring" ]; then
    info "Installing debootstrap (apt-get install)"
    # A list that cannot be fetched may not be needed: the installation shows whether it is.
    apt-get update -qq >&2 || info "Some package lists could not be fetched; continuing without them"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-upgrade --no-install-recommends \
      -o Dpkg::Use-Pty=0 debootstrap debian-archive-keyring >&2
  fi
  # /tmp may be mounted nodev, which debootstrap refuses.
  root=$(mktemp -d /var/tmp/para-bookworm.XXXXXX)
  # shellcheck disable=SC2064 # expanded now on purpose
  trap "rm -rf --one-file-system '$root'" EXIT
  sources=$(list_sources)
  mirror=$(awk '$3 == "bookworm" { print $2; exit }' <<<"$sources")
  info "Building $image with debootstrap; this takes about a minute"
  # Without a mirror, debootstrap uses its own default.
  if ! debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" bookworm "$root" \
    ${mirror:+"$mirror"} >.cache/debootstrap.log; then
    tail -n 20 .cache/debootstrap.log >&2
    return 1
  fi
  if [ -n "$sources" ]; then printf '%s\n' "$sources" >"$root/etc/apt/sources.list"; fi
  slim_down "$root"
  tar -C "$root" --numeric-owner --one-file-system --exclude='./dev/*' --exclude='./proc/*' \
    --exclude='./sys/*' -c . | "${engine[@]}" import --change 'CMD ["bash"]' - "$image" >/dev/null
}

# Removes what the published slim image leaves out too, and excludes it from later packages.
slim_down() {
  rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* \
    "$1"/var/log/*.log "$1"/usr/share/{man,info,locale,lintian}/*
  find "$1/usr/share/doc" -depth ! -name copyright ! -type d -delete
  cat >"$1/etc/dpkg/dpkg.cfg.d/para-slim" <<'CONF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
force-unsafe-io
CONF
  cat >"$1/etc/apt/apt.conf.d/para-slim" <<'CONF'
Acquire::Languages "none";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
CONF
}

if has_image; then exit; fi
mkdir -p .cache
if command -v flock >/dev/null; then
  exec 9>.cache/bookworm.lock
  flock 9
  # Another process may have created it while this one waited.
  if has_image; then exit; fi
fi
if pull; then exit; fi
if ! can_build; then
  info "$image cannot be pulled, and only root on Debian or Ubuntu can build it"
  exit 1
fi
build_image
