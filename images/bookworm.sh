#!/usr/bin/env bash
# Makes sure that the engine has debian:bookworm-slim: there already, else pulled, else (no registry
# in reach, root on Debian or Ubuntu) made from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

image=debian:bookworm-slim
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
host=$(images/engine.sh)
if [ -n "$host" ]; then export DOCKER_HOST=$host; fi

say() { printf '%s\n' "$*" >&2; }

engine=(docker)
if ! command -v docker >/dev/null; then engine=(podman --remote --url "$host"); fi

present() { "${engine[@]}" image inspect "$image" >/dev/null 2>&1; }

can_make() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

pull() {
  say "Pulling $image"
  local limit=()
  # Where it can be made instead, a registry that is out of reach should not cost minutes.
  if can_make; then limit=(timeout -k 5 60); fi
  "${limit[@]}" "${engine[@]}" pull -q "$image" >&2
}

# The machine's own package sources for Debian 12, as lines of a sources.list; none on other releases.
own_sources() {
  # shellcheck disable=SC2016 # the variables are apt's
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' |
    awk '$2 ~ /^https?:/ && $3 ~ /^bookworm(-updates|-security)?$/ && $4 == "main" && !seen[$0]++'
}

make_image() {
  local root sources mirror
  if ! command -v debootstrap >/dev/null || ! [ -e "$keyring" ]; then
    say "Installing debootstrap (apt-get install)"
    # A list that cannot be fetched may be of no interest here: what is missing shows in the install.
    apt-get update -qq >&2 || say "Some package lists could not be fetched; going on with those there are"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-upgrade --no-install-recommends \
      -o Dpkg::Use-Pty=0 debootstrap debian-archive-keyring >&2
  fi
  # /tmp may be mounted nodev, where debootstrap refuses to work.
  root=$(mktemp -d /var/tmp/para-bookworm.XXXXXX)
  # shellcheck disable=SC2064 # the folder of now is meant
  trap "rm -rf --one-file-system '$root'" EXIT
  sources=$(own_sources)
  mirror=$(awk '$3 == "bookworm" { print $2; exit }' <<<"$sources")
  say "Making $image with debootstrap; this takes about a minute"
  # Without a mirror, debootstrap takes its own default.
  if ! debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" bookworm "$root" \
    ${mirror:+"$mirror"} >.cache/debootstrap.log; then
    tail -n 20 .cache/debootstrap.log >&2
    return 1
  fi
  if [ -n "$sources" ]; then printf '%s\n' "$sources" >"$root/etc/apt/sources.list"; fi
  slim "$root"
  tar -C "$root" --numeric-owner --one-file-system --exclude='./dev/*' --exclude='./proc/*' \
    --exclude='./sys/*' -c . | "${engine[@]}" import --change 'CMD ["bash"]' - "$image" >/dev/null
}

# What the published slim image leaves out too, now and in packages to come.
slim() {
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

if present; then exit; fi
mkdir -p .cache
if command -v flock >/dev/null; then
  exec 9>.cache/bookworm.lock
  flock 9
  # Somebody else may have made it while we waited.
  if present; then exit; fi
fi
if pull; then exit; fi
if ! can_make; then
  say "$image can be neither pulled nor, as this is not root on Debian or Ubuntu, made here"
  exit 1
fi
make_image
