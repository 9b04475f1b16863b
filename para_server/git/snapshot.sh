#!/bin/bash
# Runs in a helper container: makes a bundle of all that a session has, without writing to it.
#
# The workspace is read-only here. Whatever of it runs by being looked at (filters, monitors,
# hooks) runs in this box alone, which has no network and ends with the script.
# usage: snapshot.sh full|flat BASE OBJECT-FORMAT
#   full  with the commits that were made in the workspace
#   flat  where its .git cannot be read any more: one commit of its files on the base
# in:  /para-out/message, /para-out/alternates, /para-out/name, /para-out/email
# out: /para-out/bundle, /para-out/result (tip, keep, head), /para-out/log
set -euo pipefail
exec >/para-out/log 2>&1
mode=$1 base=$2 format=$3
work=/para-session
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME=/tmp LC_ALL=C
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
GIT_AUTHOR_NAME=$(cat /para-out/name) GIT_AUTHOR_EMAIL=$(cat /para-out/email)
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

# a git dir of our own: the workspace's config, hooks and filters are not read
git init -q --bare --template= --object-format="$format" /para-out/git
cp /para-out/alternates /para-out/git/objects/info/alternates
[ ! -f /para-out/shallow ] || cp /para-out/shallow /para-out/git/shallow
export GIT_DIR=/para-out/git
ours() { git --work-tree="$work" "$@"; }
theirs() { GIT_DIR=$work/.git git "$@"; }

head=$base tips=()
cd "$work"
if [ "$mode" = full ]; then
    { [ -d .git ] && [ ! -L .git ] && [ -d .git/objects ] && [ ! -L .git/objects ]; } || exit 3
    echo "$work/.git/objects" >>/para-out/git/objects/info/alternates
    head=$(theirs rev-parse --verify -q 'HEAD^{commit}')
    while read -r tip; do
        git merge-base --is-ancestor "$tip" "$head" 2>/dev/null || tips+=("$tip")
    done < <({
        theirs for-each-ref --format='%(objecttype) %(objectname)' | sed -n 's/^commit //p'
        theirs rev-parse --verify -q refs/stash >/dev/null && theirs log -g --format=%H refs/stash
    } | awk '!seen[$0]++' | head -n 500)
fi
git symbolic-ref HEAD refs/heads/none

# the workspace's own index knows which files are unchanged, unless it was told to lie
export GIT_INDEX_FILE=/para-out/index
honest() {
    [ -f .git/index ] && [ ! -L .git/index ] && cp .git/index "$GIT_INDEX_FILE" &&
        git ls-files -v >/para-out/listed && ! cut -c1 /para-out/listed | grep -c '[a-zS]'
}
if [ "$mode" != full ] || ! honest; then
    rm -f "$GIT_INDEX_FILE"
    git read-tree "$head"
fi

# repositories within the workspace: git would note their commit and drop their files
excluded=() nested=()
while IFS= read -r -d '' entry; do
    folder=${entry%/.git}
    folder=${folder#./}
    excluded+=(":(exclude,literal)$folder")
    nested+=("$folder")
done < <(find . -mindepth 2 -name .git -prune -print0)
ours add -A -- . "${excluded[@]}"

flatten() {
    local folder=$1
    # on its own, since the index may have the folder as a single entry
    ours update-index --force-remove -- "$folder"
    find "$folder" -name .git -prune -o \( -type f -o -type l \) -print0 |
        ours update-index --add -z --stdin
}
submodules=()
for folder in "${nested[@]}"; do
    case $(git ls-files -s -- ":(literal)$folder") in
    160000*) submodules+=("$folder") ;;
    *) flatten "$folder" ;;
    esac
done
tree=$(git write-tree)
tip=$head
if [ "$tree" != "$(git rev-parse "$head^{tree}")" ]; then
    tip=$(git commit-tree "$tree" -p "$head" -F /para-out/message)
fi

# what the branch cannot hold: changed submodules, other branches, stashes
for folder in "${submodules[@]}"; do
    flatten "$folder"
done
kept=$(git write-tree)
keep=$tip
if [ "$kept" != "$tree" ] || [ ${#tips[@]} -gt 0 ] || [ "$tip" != "$head" ]; then
    parents=(-p "$head")
    for one in "${tips[@]}"; do
        parents+=(-p "$one")
    done
    keep=$(git commit-tree "$kept" "${parents[@]}" -F /para-out/message)
fi
[ ${#tips[@]} -gt 0 ] || [ "$kept" != "$tree" ] && more=1 || more=0

git update-ref refs/para/tip "$tip"
git update-ref refs/para/keep "$keep"
if [ "$(git rev-list --count "$tip" "$keep" "^$base")" != 0 ]; then
    git bundle create -q /para-out/bundle refs/para/tip refs/para/keep "^$base"
fi
printf '%s %s %s %s\n' "$tip" "$keep" "$head" "$more" >/para-out/result
rm -rf /para-out/git /para-out/index /para-out/listed
