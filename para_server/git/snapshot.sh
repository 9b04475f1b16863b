#!/bin/bash
# Runs in a helper container: makes a bundle of all that a session has, without writing to it.
#
# The workspace is read-only here, and nothing of it is run: its config, hooks, filters and monitors
# are not read, its objects and refs are. The box has no network and ends with the script.
# usage: snapshot.sh full|plain|flat look|finish|cancel BASE OBJECT-FORMAT
#   full   the commits that were made in the workspace, and its files as git adds them
#   plain  the commits, and the files byte for byte: where git cannot follow their own rules
#   flat   the files alone, as one commit on the base: where its .git cannot be used
#   look   only what a branch would hold, for somebody who looks at it
# in:  /para-out/message, /para-out/alternates, /para-out/layered (where files are shared),
#      /para-out/author, /para-out/committer, /para-out/exclude, /para-out/rootless (where the base
#      is gone), and /para-upper: of shared files, what is the session's own
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

ours() { git --work-tree="$work" "$@"; }
theirs() { GIT_DIR=/para-out/theirs git "$@"; }
refuse() { echo "$1" && exit 3; }
is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }
told() { if is_file "$1"; then head -c 1000 "$1" | head -n 1 | tr -d '\0'; fi; }
# names what the branch does not hold: what it is, how it comes, a commit, and a path or ref
left() { printf '%s %s %s %s\0' "$1" "$2" "${3:--}" "$4" >>/para-out/left; }
# a git dir of our own, which has the given stores beneath it
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

# a git dir of our own for the work, and one that holds copies of the workspace's refs
make_git /para-out/git
[ ! -f /para-out/shallow ] || cp /para-out/shallow /para-out/git/shallow
export GIT_DIR=/para-out/git GIT_INDEX_FILE=/para-out/index
[ ! -f /para-out/rootless ] || base=$(git commit-tree "$(git mktree </dev/null)" -m nothing)
cp -r /para-out/git /para-out/theirs
cd "$work"
: | tee /para-out/{stopped,conflicts,filtered,left,new,broken,repositories,specials,devices} >/dev/null

if [ -f /para-out/layered ]; then look_at "$upper"; else look_at "$work"; fi
head=$base tips=() adding=
if [ "$mode" != flat ]; then
    borrow .git theirs
    share_stores theirs
    ! is_file .git/info/exclude || head -c 1000000 .git/info/exclude >>/para-out/git/info/exclude
fi
sort_repositories
# to look at every file takes longest, and needs nothing of what is found out meanwhile
if [ "$mode" = full ] && take_index; then
    add &
    adding=$!
fi
if [ "$mode" != flat ]; then
    copy_refs .git theirs
    find_head
    find_stopped
    [ "$aim" = look ] || find_tips
fi
git symbolic-ref HEAD refs/heads/none

if [ "$mode" = full ]; then as_git_adds; else byte_for_byte; fi
[ "$mode" = full ] || [ "$aim" = look ] || name_within
[ "$mode" != flat ] || [ "$aim" = look ] || name_refs
# an index may lie about the trees that it stands for
countable "$tree" & counts=($!)
[ "$kept" = "$tree" ] || { countable "$kept" & counts+=($!); }
root=() parent=(-p "$head")
if [ -f /para-out/rootless ]; then
    [ "$head" != "$base" ] || parent=()
    root=("$base")
fi
tip=$head
if [ "$tree" != "$(git rev-parse "$head^{tree}")" ]; then
    tip=$(git commit-tree "$tree" "${parent[@]}" -F /para-out/message)
fi
# without a base, what is uncommitted is all that there is to begin with
[ ${#parent[@]} != 0 ] || head=$tip parent=(-p "$tip")
for one in "${counts[@]}"; do
    wait "$one" || refuse "there are too many files"
done
[ "$aim" = look ] || find_filtered

# what the branch cannot hold: changed submodules, other branches, tags, stashes
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
    # the host will do the same: what takes more memory than there is in here, it is never given
    git bundle unbundle /para-out/bundle >/dev/null
fi
printf '%s %s %s %s\n' "$tip" "$keep" "$head" "$more" >/para-out/result
