#!/usr/bin/env bash
# Build dist/para-VERSION.vsix: the bundle, the wheel of para-server, and the documentation.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
stage=build/editor
rm -rf "$stage"
mkdir -p "$stage/wheel" "$stage/docs" dist
(
  cd editor
  npm run --silent check
  npm run --silent bundle -- --log-level=warning
)
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$stage/wheel" .
cp -r editor/{package.json,install.py,icon.png,activity.svg,walkthrough,out} LICENSE CHANGELOG.md "$stage/"
shopt -s nullglob
for picture in docs/editor/*.png; do cp "$picture" "$stage/docs/"; done
sed 's|(\.\./docs/editor/|(docs/|' editor/README.md >"$stage/README.md"
version=$("$python" -c 'import para_server; print(para_server.__version__)')
cd "$stage"
# the bundle contains the dependencies
../../editor/node_modules/.bin/vsce package --no-dependencies --allow-missing-repository \
  --no-rewrite-relative-links --out "../../dist/para-$version.vsix" >vsce.log 2>&1 ||
  { cat vsce.log >&2; exit 1; }
echo "dist/para-$version.vsix: $(($(stat -c %s "../../dist/para-$version.vsix") / 1024)) KiB"
