#!/bin/bash
# Part of snapshot.sh: finds the repositories within the workspace, and keeps what is in them.
#
# Git would note their commit and drop their files. Of one that rules ignore only commits are kept.
# Each is read in a process of its own, so that a broken one spoils no other. What is found of the
# Nth is in /para-out/within-N: tree, commits, bundle, name, left.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

most_within=200     # repositories
most_objects=20000  # of one that has a remote: of a larger one, what the remote has is not kept

nested=() ignored=() within=()
declare -A is_aside=()
sort_repositories() {
    local path
    : >/para-out/set-aside
    [ "$mode" = full ] && [ -s /para-out/repositories ] || return 0
    sed -z 's|/\.git$||' /para-out/repositories |
        GIT_INDEX_FILE=/para-out/none ours check-ignore -z --no-index --stdin >/para-out/set-aside || true
    while IFS= read -r -d '' path; do is_aside["=$path"]=1; done </para-out/set-aside
    while IFS= read -r -d '' path; do
        path=${path%/.git}
        if is_ignored "$path"; then ignored+=("$path"); else nested+=("$path"); fi
    done < <(sort -z /para-out/repositories)
}
# the repositories that the index has as links: git refuses to have a path in one named
declare -A linked=()
read_links() {
    local path
    linked=()
    git ls-files -sz | sed -zn 's/^160000 [^\t]*\t//p' >/para-out/links
    while IFS= read -r -d '' path; do linked[$path]=1; done </para-out/links
}
in_link() { # PATH
    local path=$1
    while [[ $path = */* ]]; do
        path=${path%/*}
        [ -z "${linked[$path]+set}" ] || return 0
    done
    return 1
}
is_ignored() { [ -n "${is_aside["=$1"]+set}" ]; } # not by grep: a line break in a name parts patterns

# where the git folder of a repository is, if it is within the workspace
git_folder() {
    local said folder=$1/.git
    if ! is_folder "$folder"; then
        said=$(told "$folder")
        [[ $said = "gitdir: "* ]] || return 1
        said=${said#gitdir: }
        [[ $said = /* ]] || said=$1/$said
        folder=$said
    fi
    folder=$(realpath -e -- "$folder") && [[ $folder = "$work"/* ]] && is_folder "$folder" &&
        printf '%s' "$folder"
}

# usage: look_into N nested|ignored|bare|ignored-bare|module PATH [LINK]
# LINK is the commit that a submodule is at
look_into() {
    local number=$1 kind=$2 path=$3 link=${4-} folder inner='' commits=() public=1
    case $kind in
    nested | ignored) folder=$(git_folder "$path") ;;
    *) folder=$(realpath -e -- "$path") && [[ $folder = "$work"/* ]] ;;
    esac
    echo "$folder" >>/para-out/opened
    make_git "/para-out/within-$number"
    open "$number" "$folder"
    export GIT_DIR=/para-out/within-$number
    [ "$kind" != nested ] || files_of "$path" "$folder" >"$GIT_DIR/tree"
    published || public=
    if [ -n "$link" ] && [ "$inner" = "$link" ] && [ -n "$public" ] &&
        [ "$(cat "$GIT_DIR/tree")" = "$(git rev-parse "$inner^{tree}")" ]; then
        echo clean >"$GIT_DIR/state"
    fi
    [ "$aim" != look ] && [ ! -f "$GIT_DIR/state" ] || return 0
    [ -n "$public" ] || [ ${#commits[@]} = 0 ] || keep_commits "$path"
    exec 3>&1 >"$GIT_DIR/named"
    if [[ $kind = ignored* ]]; then
        [ -n "$public" ] || name ignored-repository "$path"
    elif [ -n "$link" ] || { [ -z "$public" ] && [ ${#commits[@]} -gt 0 ]; }; then
        name submodule "$path"
    fi
    exec >&3
}
name() {
    if [ -f "$GIT_DIR/commits" ] || [ -f "$GIT_DIR/bundle" ]; then
        printf '%s kept %s %s\0' "$1" "${inner:--}" "$2"
    else
        printf '%s files - %s\0' "$1" "$2"
    fi
}
# sets inner, where its HEAD is, and all commits that its own refs name
open() {
    local name common=$2
    [[ $2 != "$work"/.git/worktrees/* ]] || common=.git
    if [ "$common" = "$2" ]; then
        borrow "$2" "within-$1"
        copy_refs "$2" "within-$1"
        ! is_file "$2/shallow" || cp "$2/shallow" "/para-out/within-$1/shallow"
    fi
    ! is_file "$common/info/exclude" ||
        head -c 1000000 "$common/info/exclude" >>"/para-out/within-$1/info/exclude"
    echo /para-out/lent/theirs >>"/para-out/within-$1/objects/info/alternates"
    share_stores "within-$1"
    name=$(told "$2/HEAD")
    export GIT_DIR=/para-out/theirs
    [ "$common" = .git ] || GIT_DIR=/para-out/within-$1
    inner=$(git rev-parse -q --verify --end-of-options "${name#ref: }^{commit}") || inner=
    [ "$common" != .git ] || return 0
    [ -z "$inner" ] || git update-ref --no-deref HEAD "$inner"
    mapfile -t commits < <({
        [ -z "$inner" ] || echo "$inner"
        git for-each-ref --format='%(objectname)^{commit} %(refname)' |
            sed '/ refs\/remotes\//d;s/ .*//'
        [ ! -f "$GIT_DIR/logs/refs/stash" ] || git log -g --format=%H refs/stash -- || true
    } | git cat-file --batch-check='%(objectname)' | { grep -xE "$hex" || true; } |
        awk '!seen[$0]++' | head -n "$most_refs")
}
# whether a remote has all that is committed
published() {
    [ ${#commits[@]} -gt 0 ] || return 1
    [ -n "$(git for-each-ref --count=1 refs/remotes)" ] || return 1
    [ -z "$(printf "%s\n" "${commits[@]}" | git rev-list --max-count=1 --stdin --not --remotes)" ]
}
# the commits as parents of the archive, or as a bundle in it where there are too many objects
keep_commits() { # PATH
    local count
    count=$(set +o pipefail && printf '%s\n' "${commits[@]}" | git rev-list --objects --stdin |
        head -n "$most_objects" | wc -l)
    if { [ "$count" -lt "$most_objects" ] || [ -z "$(git for-each-ref --count=1 refs/remotes)" ]; } &&
        printf '%s\n' "${commits[@]}" | git rev-list --quiet --objects --stdin && [ ! -f "$GIT_DIR/shallow" ]; then
        printf '%s\n' "${commits[@]}" >"$GIT_DIR/commits"
    else
        git bundle create -q "$GIT_DIR/bundle" --all HEAD --not --remotes
    fi
    printf 'within %s %s\0' "${inner:--}" "$1" >"$GIT_DIR/name"
}
# adds the files of a repository by its own rules, and prints the tree of them
files_of() { # PATH GIT-FOLDER
    local one inside=()
    export GIT_INDEX_FILE=$GIT_DIR/index
    if ! is_file "$2/index" || ! cp --preserve=timestamps "$2/index" "$GIT_INDEX_FILE" ||
        ! git ls-files -vz >"$GIT_DIR/listed" || grep -qz '^[a-zS]' "$GIT_DIR/listed"; then
        rm -f "$GIT_INDEX_FILE"
        [ -z "$inner" ] || git read-tree "$inner"
    fi
    for one in "${nested[@]}" "${ignored[@]}"; do
        [[ $one != "$1"/* ]] || inside+=(":(exclude,literal)${one#"$1"/}")
    done
    cd -- "$work/$1"
    while IFS= read -r -d '' one; do
        [[ $one != "$1"/* ]] || printf '%s\0' "${one#"$1"/}"
    done </para-out/specials | git --work-tree=. update-index -z --force-remove --stdin
    printf '%s\0' . "${inside[@]}" |
        git --work-tree=. add -A --sparse --pathspec-from-file=- --pathspec-file-nul
    git write-tree
}

# puts the files of a repository into the index: by its rules, or else byte for byte
put() { # N PATH
    local had
    drop_below "$2"
    if [ ! -s "/para-out/within-$1/tree" ]; then
        find "./$2" -name .git -prune -o \( -type f -o -type l \) -print0 | sed -z 's|^\./||' | take
        return
    fi
    ours read-tree --prefix="$2/" "$(cat "/para-out/within-$1/tree")"
    # what the rules around a repository ignore, they ignore in it, unless it is in its commit
    had=$(GIT_DIR=/para-out/within-$1 git rev-parse -q --verify HEAD^0) || had=$(git mktree </dev/null)
    git ls-tree -r -z --name-only "$had" | while IFS= read -r -d '' path; do
        printf '%s\0' "$2/$path"
    done | sort -z >/para-out/had
    git ls-files -z -- ":(literal)$2" | sort -z | comm -z -23 - /para-out/had |
        { GIT_INDEX_FILE=/para-out/none ours check-ignore -z --no-index --stdin || true; } |
        ours update-index -z --force-remove --stdin
}

# sets tree, and kept where submodules have more than their commit
add_within() {
    local folder links=()
    count=0
    read_links
    : >/para-out/opened
    for folder in "${nested[@]}"; do
        links+=("$(git ls-files -s -- ":(literal)$folder" | sed -n 's/^160000 \([0-9a-f]*\) .*/\1/p')")
        # of one in a link, the branch has nothing either
        ! in_link "$folder" || links[-1]=none
        attempt nested "$folder" "${links[-1]}"
        [ -n "${links[-1]}" ] || put "$count" "$folder"
    done
    tree=$(git write-tree) kept=$tree
    read_links
    for number in "${!links[@]}"; do
        [ -n "${links[$number]}" ] || continue
        [ ! -f "/para-out/within-$((number + 1))/state" ] || has_more "${nested[$number]}" || continue
        put "$((number + 1))" "${nested[$number]}"
    done
    [ "$aim" = look ] || add_hollow
    kept=$(git write-tree)
    [ "$aim" = look ] || { look_aside && collect_within; }
}
has_more() { # PATH: whether there are repositories in a repository
    local one
    for one in "${nested[@]}"; do
        [[ $one != "$1"/* ]] || return 0
    done
    return 1
}
# Git overlooks all files in the folder of a submodule that is no repository: one that was never
# fetched, whose .git was removed, or that came back from an archive.
add_hollow() {
    local path
    while IFS= read -r -d '' path; do
        [ ! -e "$path/.git" ] && [ ! -L "$path/.git" ] || continue
        is_folder "$path" && [ "$(realpath -ez -- "$path" | tr '\0' x)" = "$work/${path}x" ] || continue
        plain_files "$path" >/para-out/found
        [ -s /para-out/found ] || continue
        drop_below "$path"
        take </para-out/found
        left submodule files - "$path"
    done </para-out/links
}
# prints the files of a folder that rules do not ignore, and those that the session began with
plain_files() { # PATH
    find "./$1" -name .git -prune -o \( -type f -o -type l \) -print0 | sed -z 's|^\./||' |
        sort -z >/para-out/plain
    [ -s /para-out/plain ] || return 0
    git ls-tree -r -z --name-only "$base" -- ":(literal)$1/" | sort -z >/para-out/had
    { GIT_INDEX_FILE=/para-out/none ours check-ignore -z --no-index --stdin </para-out/plain || true; } |
        sort -z | comm -z -23 - /para-out/had | comm -z -23 /para-out/plain -
}
attempt() { # KIND PATH [LINK]
    [ $((++count)) -le "$most_within" ] || { left submodule broken - "$2" && return; }
    set +e
    (set -e && look_into "$count" "$@")
    local code=$?
    set -e
    [ $code = 0 ] || left "$([ "$1" = ignored ] && echo ignored-repository || echo submodule)" broken - "$2"
}
# repositories that git does not see: ignored ones, bare ones, and those of submodules that are away
look_aside() {
    local path
    for path in "${ignored[@]}"; do
        attempt ignored "$path"
    done
    while IFS= read -r -d '' path; do
        path=${path%HEAD} path=${path%/}
        is_bare "$path" || continue
        if [ -n "$(printf '%s\0' "$path" |
            GIT_INDEX_FILE=/para-out/none ours check-ignore -z --no-index --stdin)" ]; then
            attempt ignored-bare "$path"
        else
            attempt bare "$path"
        fi
    done </para-out/heads
    while IFS= read -r -d '' path; do
        path=${path%/HEAD}
        is_bare "$path" && ! grep -qxF -- "$work/$path" /para-out/opened || continue
        attempt module "$path"
    done < <(! is_folder .git/modules || find .git/modules -name HEAD -type f -print0 | sort -z)
}
is_bare() { is_folder "$1/objects" && is_folder "$1/refs"; }
collect_within() {
    local number there
    for ((number = 1; number <= count; number++)); do
        there=/para-out/within-$number
        [ ! -f "$there/named" ] || cat "$there/named" >>/para-out/left
        [ ! -f "$there/name" ] || cat "$there/name" >>/para-out/inner-names
        [ ! -f "$there/commits" ] || mapfile -t -O "${#within[@]}" within <"$there/commits"
    done
}
# where less is asked, of repositories within there are the files alone
name_within() {
    local path
    : >/para-out/set-aside
    special ignore || sed -z 's|/\.git$||;s|/\{0,1\}HEAD$||' /para-out/repositories /para-out/heads |
        GIT_INDEX_FILE=/para-out/none ours check-ignore -z --no-index --stdin >/para-out/set-aside || true
    while IFS= read -r -d '' path; do is_aside["=$path"]=1; done </para-out/set-aside
    while IFS= read -r -d '' path; do
        path=${path%/.git}
        if is_ignored "$path"; then left ignored-repository files - "$path"; else left submodule loose - "$path"; fi
    done < <(sort -z /para-out/repositories | head -z -n "$most_within")
    while IFS= read -r -d '' path; do
        path=${path%HEAD} path=${path%/}
        ! is_bare "$path" || ! is_ignored "$path" || left ignored-repository files - "$path"
    done </para-out/heads
    while IFS= read -r -d '' path; do
        path=${path%/HEAD}
        ! is_bare "$path" || left submodule broken - "$path"
    done < <(! is_folder .git/modules || find .git/modules -name HEAD -type f -print0 | sort -z)
}
