#!/bin/bash
# Creates a bundle of all work of a session, in a one-shot container and without writing to it.
#
# The workspace is mounted read-only, and nothing in it is run: its objects and refs are read, but
# not its configuration, hooks, filters and file system monitors. The container has no network and
# is removed when the script exits.
# usage: snapshot.sh full|plain|flat look|finish|cancel BASE OBJECT-FORMAT
#   full   the commits of the workspace, and its files as git adds them
#   plain  the commits, and the files byte for byte: for ignore rules or attributes git cannot read
#   flat   only the files, as one commit on the base commit: for a .git that cannot be used
#   look   only what a branch would contain, for a review of a running session
# in:  /para-out/message, /para-out/alternates, /para-out/layered (if base files are shared),
#      /para-out/author, /para-out/committer, /para-out/exclude, /para-out/rootless (if the base
#      commit is gone), and /para-upper: the session's layer over shared files
# out: /para-out/bundle, /para-out/result (tip, keep, head, more), /para-out/left, /para-out/stopped,
#      /para-out/filtered, /para-out/log
# shellcheck disable=SC2034,SC2154 # the parts share their variables
set -euo pipefail
exec >/para-out/log 2>&1
mode=$1 aim=$2 base=$3 format=$4
most_files=5000000
work=/para-session upper=/para-upper
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
export HOME=/tmp LC_ALL=C
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
{ read -r GIT_AUTHOR_NAME && read -r GIT_AUTHOR_EMAIL; } </para-out/author
{ read -r GIT_COMMITTER_NAME && read -r GIT_COMMITTER_EMAIL; } </para-out/committer

workspace_git() { git --work-tree="$work" "$@"; }
refs_git() { GIT_DIR=/para-out/theirs git "$@"; }
refuse() { echo "$1" && exit 3; }
is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }
first_line() { if is_file "$1"; then head -c 1000 "$1" | head -n 1 | tr -d '\0'; fi; }
# reports what the branch does not contain: KIND STATE COMMIT PATH-OR-REF
report_omission() { printf '%s %s %s %s\0' "$1" "$2" "${3:--}" "$4" >>/para-out/left; }
# creates an empty git directory with the object stores of the host as alternates
make_git() {
    git init -q --bare --template= --object-format="$format" "$1"
    mkdir -p "$1/info"
    printf '[core]\nbigFileThreshold = 64m\nmultiPackIndex = false\n[pack]\nwindowMemory = 128m\n' \
        >>"$1/config"
    cp /para-out/alternates "$1/objects/info/alternates"
    cp /para-out/exclude "$1/info/exclude"
}
for part in refs files within carry; do
    # shellcheck source=/dev/null
    . "/para-out/snapshot_$part.sh"
done

# one git directory for the new objects, and one for copies of the workspace's refs
make_git /para-out/git
[ ! -f /para-out/shallow ] || cp /para-out/shallow /para-out/git/shallow
export GIT_DIR=/para-out/git GIT_INDEX_FILE=/para-out/index
[ ! -f /para-out/rootless ] || base=$(git commit-tree "$(git mktree </dev/null)" -m nothing)
cp -r /para-out/git /para-out/theirs
cd "$work"
: | tee /para-out/{stopped,conflicts,filtered,left,new,broken,repositories,specials,devices} >/dev/null

if [ -f /para-out/layered ]; then scan_files "$upper"; else scan_files "$work"; fi
head=$base tips=() adding=
if [ "$mode" != flat ]; then
    lend_objects .git theirs
    share_stores theirs
    ! is_file .git/info/exclude || head -c 1000000 .git/info/exclude >>/para-out/git/info/exclude
fi
classify_repositories
# adding the files takes longest and needs no refs, so it runs in the background
if [ "$mode" = full ] && copy_index; then
    add_files &
    adding=$!
fi
if [ "$mode" != flat ]; then
    copy_refs .git theirs
    find_head
    find_stopped
    [ "$aim" = look ] || find_tips
fi
git symbolic-ref HEAD refs/heads/none

if [ "$mode" = full ]; then build_tree_by_rules; else build_raw_tree; fi
[ "$mode" = full ] || [ "$aim" = look ] || report_unread_nested
[ "$mode" != flat ] || [ "$aim" = look ] || report_refs
# an index may contain false entries of trees
is_countable "$tree" & counts=($!)
[ "$kept" = "$tree" ] || { is_countable "$kept" & counts+=($!); }
root=() parent=(-p "$head")
if [ -f /para-out/rootless ]; then
    [ "$head" != "$base" ] || parent=()
    root=("$base")
fi
tip=$head
if [ "$tree" != "$(git rev-parse "$head^{tree}")" ]; then
    tip=$(git commit-tree "$tree" "${parent[@]}" -F /para-out/message)
fi
# without a base commit, the uncommitted files become the first commit
[ ${#parent[@]} != 0 ] || head=$tip parent=(-p "$tip")
for one in "${counts[@]}"; do
    wait "$one" || refuse "there are too many files"
done
[ "$aim" = look ] || list_filtered

# what the branch cannot contain: changed submodules, other branches, tags, stashes
more=0 carrier=()
if [ "$aim" != look ]; then
    carry
    [ ${#carrier[@]} = 0 ] && [ "$kept" = "$tree" ] || more=1
fi
keep=$tip
if [ "$more" = 1 ] || [ "$tip" != "$head" ]; then
    keep=$(git commit-tree "$kept" "${parent[@]}" "${carrier[@]}" -F /para-out/message)
fi

printf 'create refs/para/%s %s\n' tip "$tip" keep "$keep" | git update-ref --stdin
bases=("^$base")
[ ${#root[@]} = 0 ] || bases=()
if [ "$(git rev-list --count "$tip" "$keep" "${bases[@]}")" != 0 ]; then
    git bundle create -q /para-out/bundle refs/para/tip refs/para/keep "${bases[@]}"
    # the host will unpack it too: a bundle that needs too much memory must fail here
    git bundle unbundle /para-out/bundle >/dev/null
fi
printf '%s %s %s %s\n' "$tip" "$keep" "$head" "$more" >/para-out/result
