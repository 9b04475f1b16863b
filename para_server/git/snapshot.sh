#!/bin/bash
# Runs in a helper container: makes a bundle of all that a session has, without writing to it.
#
# The workspace is read-only here, and nothing of it is run: its config, hooks, filters and monitors
# are not read, its objects and refs are. The box has no network and ends with the script.
# usage: snapshot.sh full|plain|flat BASE OBJECT-FORMAT
#   full   the commits that were made in the workspace, and its files as git adds them
#   plain  the commits, and the files byte for byte: where git cannot follow their own rules
#   flat   the files alone, as one commit on the base: where its .git cannot be used
# in:  /para-out/message, /para-out/alternates, /para-out/layered (where files are shared),
#      /para-out/name, /para-out/email, and /para-upper: of shared files, what is the session's own
# out: /para-out/bundle, /para-out/result (tip, keep, head, more), /para-out/log
set -euo pipefail
exec >/para-out/log 2>&1
mode=$1 base=$2 format=$3
most_files=5000000
work=/para-session upper=/para-upper
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
export HOME=/tmp LC_ALL=C
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
GIT_AUTHOR_NAME=$(cat /para-out/name) GIT_AUTHOR_EMAIL=$(cat /para-out/email)
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

# a git dir of our own for the work, and one that holds copies of the workspace's refs
git init -q --bare --template= --object-format="$format" /para-out/git
printf '[core]\nbigFileThreshold = 64m\nmultiPackIndex = false\n[pack]\nwindowMemory = 128m\n' \
    >>/para-out/git/config
cp /para-out/alternates /para-out/git/objects/info/alternates
[ ! -f /para-out/shallow ] || cp /para-out/shallow /para-out/git/shallow
cp -r /para-out/git /para-out/theirs
export GIT_DIR=/para-out/git GIT_INDEX_FILE=/para-out/index
ours() { git --work-tree="$work" "$@"; }
theirs() { GIT_DIR=/para-out/theirs git "$@"; }
refuse() { echo "$1" && exit 3; }
is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }

cd "$work"
# git waits for pipes and follows links, so there may be none where it looks
borrow() {
    local folder
    for folder in .git .git/objects .git/refs; do
        is_folder "$folder" || refuse "$folder is no folder"
    done
    [ -z "$(find .git/refs .git/objects -path .git/objects/info -prune -o \
        ! -type f ! -type d -print -quit)" ] || refuse "a link or a pipe is among objects and refs"
    # not all of the store: it may name further stores, and tell lies about its packs
    mkdir /para-out/borrowed
    for folder in .git/objects/pack .git/objects/[0-9a-f][0-9a-f]; do
        [ ! -d "$folder" ] || ln -s "$work/$folder" /para-out/borrowed/
    done
    echo /para-out/borrowed | tee -a /para-out/{git,theirs}/objects/info/alternates >/dev/null
}
copy_refs() {
    (cd .git && find refs -type f -print0 | xargs -0 -r cp --parents -t /para-out/theirs)
    # one line that is none would spoil the others
    ! is_file .git/packed-refs || ! grep -E '^[0-9a-f]{40,64} refs/[^ ]+$' .git/packed-refs \
        >/para-out/theirs/packed-refs || true
    mkdir -p /para-out/theirs/logs/refs
    ! is_file .git/logs/refs/stash || cp .git/logs/refs/stash /para-out/theirs/logs/refs/
}
commit_of() { theirs rev-parse -q --verify --end-of-options "$1^{commit}"; }
told() { if is_file "$1"; then head -c 1000 "$1" | head -n 1 | tr -d '\0'; fi; }
# where nothing is checked out, as on a new orphan branch, the work goes on the base
find_head() {
    local said
    said=$(told .git/HEAD)
    case $said in
    "ref: refs/"*) head=$(commit_of "${said#ref: }") || head=$base ;;
    *) head=$(commit_of "$said") || head=$base ;;
    esac
    # one that the host could not check out is kept beside the branch
    [ "$head" = "$base" ] || countable "$head" || head=$base
}
# a few objects can stand for more files than there is memory: the same folder in itself, ten deep
countable() {
    local count
    count=$(set +o pipefail && git ls-tree -r --name-only "$1" | head -n "$most_files" | wc -l)
    [ "$count" -lt "$most_files" ]
}
candidates() {
    theirs for-each-ref --no-merged="$head" --format='%(objectname)'
    [ ! -f /para-out/theirs/logs/refs/stash ] || theirs log -g --format=%H refs/stash --
    for one in .git/worktrees/*/HEAD; do
        told "$one"
    done
}
find_tips() {
    local one tip
    while read -r one; do
        tip=$(commit_of "$one") || continue
        ! git merge-base --is-ancestor "$tip" "$head" || continue
        ! git merge-base --is-ancestor "$tip" "$base" || continue
        # one that is not whole would spoil the others
        git rev-list --quiet --objects "$tip" --not "$head" "$base" || continue
        tips+=("$tip")
    done < <({ candidates || true; } | awk '!seen[$0]++' | head -n 5000)
}

# names that git on the host refuses to take in, or would read as its own
harmless() { # sets $called; of a path, its object, its mode
    local part rest=$1/ changed=
    called=
    case ${1,,} in *.*g*i*t* | *git~* | *gi????~* | *gitmod~* | *gitatt~*) ;; *) called=$1 && return ;; esac
    while [ -n "$rest" ]; do
        part=${rest%%/*} rest=${rest#*/}
        local -l bare=${part//[^ -~]/}
        case \\$bare in
        *'\.git' | *'\.git'[\ .:\\]* | *'\git~'* | *\\gi[0-9a-f][0-9a-f][0-9a-f][0-9a-f]~* | \
            *'\.gitmodules'* | *'\gitmod~'* | *'\.gitattributes'* | *'\gitatt~'*)
            part=${part//[^ -~]/_} part=${part//[:\\]/_}.refused changed=1
            ;;
        esac
        called=$called${called:+/}$part
    done
    # one that the host has already
    [ -z "$changed" ] || ! git ls-tree -z "$head" -- "$1" | grep -qzxF "$3 blob $2	$1" || called=$1
}

# takes NUL-ended paths into the index byte for byte: attributes are not read, filters do not run
take() {
    local path oid mode called
    : >/para-out/files >/para-out/entries
    while IFS= read -r -d '' path; do
        if [ ${#path} -ge 4096 ]; then
            echo "left out, since no program can open it: ${path:0:80}..."
        elif [ -L "$path" ]; then
            oid=$(readlink -n -- "$path" | git hash-object -w --stdin)
            harmless "$path" "$oid" 120000
            printf '120000 %s\t%s\0' "$oid" "$called" >>/para-out/entries
        else
            printf '%s\0' "$path" >>/para-out/files
        fi
    done
    xargs -0 -r git hash-object -w --no-filters -- </para-out/files >/para-out/oids
    while IFS= read -r -d '' path <&3 && read -r oid <&4; do
        [ -x "$path" ] && mode=100755 || mode=100644
        harmless "$path" "$oid" "$mode"
        printf '%s %s\t%s\0' "$mode" "$oid" "$called" >>/para-out/entries
    done 3</para-out/files 4</para-out/oids
    git update-index -z --index-info </para-out/entries
}
drop_below() { git ls-files -z -- ":(literal)$1" | ours update-index -z --force-remove --stdin; }

# one look at all there is: repositories within the workspace, and what is neither file nor folder;
# files that are shared come from git, which has neither
look_at() {
    local path
    (cd "$1" && find . -mindepth 1 -path ./.git -prune \
        -o -type c -fprintf /para-out/devices '%P\0' \
        -o -name .git -prune -fprintf /para-out/repositories '%P\0' \
        -o ! -type f ! -type l ! -type d -fprintf /para-out/specials '%P\0')
    # a layer says by a device that a file is gone
    while IFS= read -r -d '' path; do
        [ ! -c "$path" ] || printf '%s\0' "$path" >>/para-out/specials
    done </para-out/devices
}
special() { grep -qzE "(^|/)\.git($1)\$" /para-out/specials; }

# the workspace's own index knows which files are unchanged, unless it was told to overlook some;
# its age tells git which files may have changed within the second in which it was written
take_index() {
    : >/para-out/listed
    is_file .git/index || return 1
    cp --preserve=timestamps .git/index "$GIT_INDEX_FILE" || return 1
    git ls-files -vz >/para-out/listed || { : >/para-out/listed && return 1; }
    ! grep -qz '^[a-zS]' /para-out/listed
}
make_index() {
    rm -f "$GIT_INDEX_FILE"
    git read-tree "$head"
    # a sparse checkout leaves files out that are not deleted
    sed -zn 's/^[Ss] //p' /para-out/listed | while IFS= read -r -d '' path; do
        [ -e "$path" ] || [ -L "$path" ] || printf '%s\0' "$path"
    done | sort -z >/para-out/absent
    git ls-files -z | sort -z | comm -z -12 - /para-out/absent |
        ours update-index -z --skip-worktree --stdin
}
add() {
    ! special 'ignore|attributes|modules' || refuse "git would wait for a file of its rules"
    [ ! -s /para-out/specials ] ||
        ours update-index -z --force-remove --stdin </para-out/specials
    # repositories within: git would note their commit and drop their files
    printf '%s\0' . "${nested[@]/#/:(exclude,literal)}" |
        ours add -A --sparse --pathspec-from-file=- --pathspec-file-nul
}

as_git_adds() {
    local folder submodules=()
    if [ -n "$adding" ]; then
        wait "$adding"
    else
        make_index
        add
    fi
    flatten() {
        drop_below "$1"
        find "./$1" -name .git -prune -o \( -type f -o -type l \) -print0 | sed -z 's|^\./||' |
            take
    }
    for folder in "${nested[@]}"; do
        case $(git ls-files -s -- ":(literal)$folder") in
        160000*) submodules+=("$folder") ;;
        *) flatten "$folder" ;;
        esac
    done
    tree=$(git write-tree) kept=$tree
    [ ${#submodules[@]} -gt 0 ] || return 0
    for folder in "${submodules[@]}"; do
        flatten "$folder"
    done
    kept=$(git write-tree)
}

byte_for_byte() {
    local path
    git read-tree "$head"
    git ls-files -sz | sed -zn '/^160000 /p' >/para-out/links
    while IFS= read -r -d '' path; do
        drop_below "${path#*	}"
    done </para-out/links
    find . -mindepth 1 -name .git -prune -o \( -type f -o -type l \) -printf '%P\0' |
        sort -z >/para-out/found
    : >/para-out/ignored
    if ! special ignore; then
        ours check-ignore -z --stdin </para-out/found | sort -z >/para-out/ignored || true
    fi
    git read-tree --empty
    take < <(comm -z -23 /para-out/found /para-out/ignored)
    kept=$(git write-tree)
    # submodules are left as they were: what is in them is only kept
    while IFS= read -r -d '' path; do
        drop_below "${path#*	}"
    done </para-out/links
    git update-index -z --index-info </para-out/links
    tree=$(git write-tree)
}

if [ -f /para-out/layered ]; then look_at "$upper"; else look_at "$work"; fi
nested=()
while IFS= read -r -d '' path; do
    nested+=("${path%/.git}")
done </para-out/repositories
head=$base tips=() adding=
[ "$mode" = flat ] || borrow
# to look at every file takes longest, and needs nothing of what is found out meanwhile
if [ "$mode" = full ] && take_index; then
    add &
    adding=$!
fi
if [ "$mode" != flat ]; then
    copy_refs
    find_head
    find_tips
fi
git symbolic-ref HEAD refs/heads/none

if [ "$mode" = full ]; then as_git_adds; else byte_for_byte; fi
# an index may lie about the trees that it stands for
countable "$tree" & counts=($!)
[ "$kept" = "$tree" ] || { countable "$kept" & counts+=($!); }
tip=$head
if [ "$tree" != "$(git rev-parse "$head^{tree}")" ]; then
    tip=$(git commit-tree "$tree" -p "$head" -F /para-out/message)
fi

# what the branch cannot hold: changed submodules, other branches, stashes
keep=$tip
if [ "$kept" != "$tree" ] || [ ${#tips[@]} -gt 0 ] || [ "$tip" != "$head" ]; then
    parents=(-p "$head")
    for one in "${tips[@]}"; do
        parents+=(-p "$one")
    done
    keep=$(git commit-tree "$kept" "${parents[@]}" -F /para-out/message)
fi
[ ${#tips[@]} -gt 0 ] || [ "$kept" != "$tree" ] && more=1 || more=0

printf 'create refs/para/%s %s\n' tip "$tip" keep "$keep" | git update-ref --stdin
if [ "$(git rev-list --count "$tip" "$keep" "^$base")" != 0 ]; then
    git bundle create -q /para-out/bundle refs/para/tip refs/para/keep "^$base"
    # the host will do the same: what takes more memory than there is in here, it is never given
    git bundle unbundle /para-out/bundle >/dev/null
fi
for one in "${counts[@]}"; do
    wait "$one" || refuse "there are too many files"
done
printf '%s %s %s %s\n' "$tip" "$keep" "$head" "$more" >/para-out/result
