#!/usr/bin/env bash
# Makes sure that there is a VS Code workbench to test in: code-server, which serves one to a browser,
# and Debian's chromium. What is meant for people goes to stderr. usage: workbench.sh DIR
set -euo pipefail
dir=$(realpath -m "${1:?usage: workbench.sh DIR}")
version=4.100.3 # VS Code 1.100.3, the oldest that the extension runs in, and the newest for Node 20
packages=(chromium fonts-dejavu-core build-essential emacs-nox elpa-eglot)

say() { printf '%s\n' "$*" >&2; }

missing() {
  local package
  for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || echo "$package"
  done
}

install_packages() {
  local wanted
  mapfile -t wanted < <(missing)
  if [ ${#wanted[@]} -eq 0 ]; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "The tests of the editors need: ${wanted[*]} (on Debian: sudo apt-get install ${wanted[*]})"
    exit 1
  fi
  say "Installing ${wanted[*]} (apt-get install)"
  apt-get update -qq >&2 || say "Some package lists could not be fetched; going on with those there are"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-upgrade --no-install-recommends \
    -o Dpkg::Use-Pty=0 "${wanted[@]}" >&2
}

install_workbench() {
  local gyp headers vscode module
  say "Installing code-server $version into $dir; this takes about a minute"
  mkdir -p "$dir"
  cd "$dir"
  echo '{"name":"workbench","private":true,"version":"0.0.0"}' >package.json
  # What the packages would fetch from elsewhere when they are installed is made here instead.
  npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
    "code-server@$version" @vscode/ripgrep-linux-x64@1.18.0 >&2
  gyp=$(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js
  headers=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")") # has include/node/node.h
  vscode=$dir/node_modules/code-server/lib/vscode
  npm_config_build_from_source=true npm rebuild argon2 --loglevel=error >&2
  for module in "$vscode" "$vscode/extensions"; do
    (cd "$module" && npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  done
  for module in @vscode/spdlog native-watchdog node-pty; do
    (cd "$vscode/node_modules/$module" && node "$gyp" rebuild --nodedir="$headers") >gyp.log 2>&1 ||
      { tail -n 20 gyp.log >&2; exit 1; }
  done
  ln -sfn node_modules "$vscode/node_modules.asar"
  ln -sf code-linux.sh "$vscode/bin/remote-cli/code-server"
  ln -sf browser-linux.sh "$vscode/bin/helpers/browser.sh"
  mkdir -p "$vscode/node_modules/@vscode/ripgrep/bin"
  cp node_modules/@vscode/ripgrep-linux-x64/bin/rg "$vscode/node_modules/@vscode/ripgrep/bin/rg"
}

command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || {
  say "The tests of the editors need Node.js 20 or newer"
  exit 1
}
install_packages
if [ "$(cat "$dir/.ready" 2>/dev/null)" = "$version" ]; then exit; fi
install_workbench
echo "$version" >"$dir/.ready"
