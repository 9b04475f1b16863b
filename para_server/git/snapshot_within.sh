#!/bin/bash
# Part of snapshot.sh: finds the nested repositories of the workspace, and keeps their contents.
#
# git would record their commit and drop their files. Of ignored ones, only commits are kept.
# Each is read in a process of its own, so that a broken one does not affect others. The results for
# the Nth are in /para-out/within-N: tree, commits, bundle, name, named, state.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

most_within=200     # repositories
most_objects=20000  # of one with a remote: of a larger one, only what the remote lacks is kept

nested=() ignored=() within=()
declare -A is_aside=()
classify_repositories() {
    local path
    : >/para-out/set-aside
    [ "$mode" = full ] && [ -s /para-out/repositories ] || return 0
    sed -z 's|/\.git$||' /para-out/repositories |
        GIT_INDEX_FILE=/para-out/none workspace_git check-ignore -z --no-index --stdin >/para-out/set-aside || true
    while IFS= read -r -d '' path; do is_aside["=$path"]=1; done </para-out/set-aside
    while IFS= read -r -d '' path; do
        path=${path%/.git}
        if is_ignored "$path"; then ignored+=("$path"); else nested+=("$path"); fi
    done < <(sort -z /para-out/repositories)
}
# reads the submodules in the index: git refuses pathspecs in them
declare -A linked=()
read_links() {
    local path
    linked=()
    git ls-files -sz | sed -zn 's/^160000 [^\t]*\t//p' >/para-out/links
    while IFS= read -r -d '' path; do linked[$path]=1; done </para-out/links
}
is_in_link() { # PATH
    local path=$1
    while [[ $path = */* ]]; do
        path=${path%/*}
        [ -z "${linked[$path]+set}" ] || return 0
    done
    return 1
}
is_ignored() { [ -n "${is_aside["=$1"]+set}" ]; } # not with grep: a newline in a name would split the pattern

# prints the git folder of a repository if it is in the workspace
find_git_folder() {
    local target folder=$1/.git
    if ! is_folder "$folder"; then
        target=$(first_line "$folder")
        [[ $target = "gitdir: "* ]] || return 1
        target=${target#gitdir: }
        [[ $target = /* ]] || target=$1/$target
        folder=$target
    fi
    folder=$(realpath -e -- "$folder") && [[ $folder = "$work"/* ]] && is_folder "$folder" &&
        printf '%s' "$folder"
}

# usage: read_repository N nested|ignored|bare|ignored-bare|module PATH [LINK]
# LINK is the commit that the index has for a submodule
read_repository() {
    local number=$1 kind=$2 path=$3 link=${4-} folder inner='' commits=() public=1
    case $kind in
    nested | ignored) folder=$(find_git_folder "$path") ;;
    *) folder=$(realpath -e -- "$path") && [[ $folder = "$work"/* ]] ;;
    esac
    echo "$folder" >>/para-out/opened
    make_git "/para-out/within-$number"
    open_repository "$number" "$folder"
    export GIT_DIR=/para-out/within-$number
    [ "$kind" != nested ] || write_tree_of "$path" "$folder" >"$GIT_DIR/tree"
    is_published || public=
    if [ -n "$link" ] && [ "$inner" = "$link" ] && [ -n "$public" ] &&
        [ "$(cat "$GIT_DIR/tree")" = "$(git rev-parse "$inner^{tree}")" ]; then
        echo clean >"$GIT_DIR/state"
    fi
    [ "$aim" != look ] && [ ! -f "$GIT_DIR/state" ] || return 0
    [ -n "$public" ] || [ ${#commits[@]} = 0 ] || keep_commits "$path"
    exec 3>&1 >"$GIT_DIR/named"
    if [[ $kind = ignored* ]]; then
        [ -n "$public" ] || report_nested ignored-repository "$path"
    elif [ -n "$link" ] || { [ -z "$public" ] && [ ${#commits[@]} -gt 0 ]; }; then
        report_nested submodule "$path"
    fi
    exec >&3
}
report_nested() {
    if [ -f "$GIT_DIR/commits" ] || [ -f "$GIT_DIR/bundle" ]; then
        printf '%s kept %s %s\0' "$1" "${inner:--}" "$2"
    else
        printf '%s files - %s\0' "$1" "$2"
    fi
}
# sets inner (the commit of its HEAD) and commits (those of all its own refs)
open_repository() {
    local name common=$2
    [[ $2 != "$work"/.git/worktrees/* ]] || common=.git
    if [ "$common" = "$2" ]; then
        lend_objects "$2" "within-$1"
        copy_refs "$2" "within-$1"
        ! is_file "$2/shallow" || cp "$2/shallow" "/para-out/within-$1/shallow"
    fi
    ! is_file "$common/info/exclude" ||
        head -c 1000000 "$common/info/exclude" >>"/para-out/within-$1/info/exclude"
    echo /para-out/lent/theirs >>"/para-out/within-$1/objects/info/alternates"
    share_stores "within-$1"
    name=$(first_line "$2/HEAD")
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
# whether remote-tracking branches contain all commits
is_published() {
    [ ${#commits[@]} -gt 0 ] || return 1
    [ -n "$(git for-each-ref --count=1 refs/remotes)" ] || return 1
    [ -z "$(printf "%s\n" "${commits[@]}" | git rev-list --max-count=1 --stdin --not --remotes)" ]
}
# keeps the commits as parents of the archive, or in a bundle if there are too many objects
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
# adds the files of a repository by its own ignore rules, and prints their tree
write_tree_of() { # PATH GIT-FOLDER
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

# adds the files of a repository to the index: by its ignore rules, or else byte for byte
put_files() { # N PATH
    local had
    remove_below "$2"
    if [ ! -s "/para-out/within-$1/tree" ]; then
        find "./$2" -name .git -prune -o \( -type f -o -type l \) -print0 | sed -z 's|^\./||' | add_raw_files
        return
    fi
    workspace_git read-tree --prefix="$2/" "$(cat "/para-out/within-$1/tree")"
    # the outer ignore rules apply in it too, except to files in its commit
    had=$(GIT_DIR=/para-out/within-$1 git rev-parse -q --verify HEAD^0) || had=$(git mktree </dev/null)
    git ls-tree -r -z --name-only "$had" | while IFS= read -r -d '' path; do
        printf '%s\0' "$2/$path"
    done | sort -z >/para-out/had
    git ls-files -z -- ":(literal)$2" | sort -z | comm -z -23 - /para-out/had |
        { GIT_INDEX_FILE=/para-out/none workspace_git check-ignore -z --no-index --stdin || true; } |
        workspace_git update-index -z --force-remove --stdin
}

# sets tree, and kept with the uncommitted files of submodules
add_nested() {
    local folder links=()
    count=0
    read_links
    : >/para-out/opened
    for folder in "${nested[@]}"; do
        links+=("$(git ls-files -s -- ":(literal)$folder" | sed -n 's/^160000 \([0-9a-f]*\) .*/\1/p')")
        # the branch has no files of a repository in a submodule
        ! is_in_link "$folder" || links[-1]=none
        try_repository nested "$folder" "${links[-1]}"
        [ -n "${links[-1]}" ] || put_files "$count" "$folder"
    done
    tree=$(git write-tree) kept=$tree
    read_links
    for number in "${!links[@]}"; do
        [ -n "${links[$number]}" ] || continue
        [ ! -f "/para-out/within-$((number + 1))/state" ] || has_nested "${nested[$number]}" || continue
        put_files "$((number + 1))" "${nested[$number]}"
    done
    [ "$aim" = look ] || add_uninitialized
    kept=$(git write-tree)
    [ "$aim" = look ] || { read_unseen_repositories && collect_within; }
}
has_nested() { # PATH: whether a repository contains further repositories
    local one
    for one in "${nested[@]}"; do
        [[ $one != "$1"/* ]] || return 0
    done
    return 1
}
# Adds the files in submodule folders without a repository, which git skips: the submodule was never
# fetched, its .git was removed, or it was restored from an archive.
add_uninitialized() {
    local path
    while IFS= read -r -d '' path; do
        [ ! -e "$path/.git" ] && [ ! -L "$path/.git" ] || continue
        is_folder "$path" && [ "$(realpath -ez -- "$path" | tr '\0' x)" = "$work/${path}x" ] || continue
        list_plain_files "$path" >/para-out/found
        [ -s /para-out/found ] || continue
        remove_below "$path"
        add_raw_files </para-out/found
        report_omission submodule files - "$path"
    done </para-out/links
}
# prints the files of a folder that are not ignored or that the base commit has
list_plain_files() { # PATH
    find "./$1" -name .git -prune -o \( -type f -o -type l \) -print0 | sed -z 's|^\./||' |
        sort -z >/para-out/plain
    [ -s /para-out/plain ] || return 0
    git ls-tree -r -z --name-only "$base" -- ":(literal)$1/" | sort -z >/para-out/had
    { GIT_INDEX_FILE=/para-out/none workspace_git check-ignore -z --no-index --stdin </para-out/plain || true; } |
        sort -z | comm -z -23 - /para-out/had | comm -z -23 /para-out/plain -
}
try_repository() { # KIND PATH [LINK]
    [ $((++count)) -le "$most_within" ] || { report_omission submodule broken - "$2" && return; }
    set +e
    (set -e && read_repository "$count" "$@")
    local code=$?
    set -e
    [ $code = 0 ] || report_omission "$([ "$1" = ignored ] && echo ignored-repository || echo submodule)" broken - "$2"
}
# reads the repositories that git skips: ignored, bare, and those of removed submodules
read_unseen_repositories() {
    local path
    for path in "${ignored[@]}"; do
        try_repository ignored "$path"
    done
    while IFS= read -r -d '' path; do
        path=${path%HEAD} path=${path%/}
        is_bare "$path" || continue
        if [ -n "$(printf '%s\0' "$path" |
            GIT_INDEX_FILE=/para-out/none workspace_git check-ignore -z --no-index --stdin)" ]; then
            try_repository ignored-bare "$path"
        else
            try_repository bare "$path"
        fi
    done </para-out/heads
    while IFS= read -r -d '' path; do
        path=${path%/HEAD}
        is_bare "$path" && ! grep -qxF -- "$work/$path" /para-out/opened || continue
        try_repository module "$path"
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
# outside of mode full, only the files of nested repositories are kept
report_unread_nested() {
    local path
    : >/para-out/set-aside
    has_special ignore || sed -z 's|/\.git$||;s|/\{0,1\}HEAD$||' /para-out/repositories /para-out/heads |
        GIT_INDEX_FILE=/para-out/none workspace_git check-ignore -z --no-index --stdin >/para-out/set-aside || true
    while IFS= read -r -d '' path; do is_aside["=$path"]=1; done </para-out/set-aside
    while IFS= read -r -d '' path; do
        path=${path%/.git}
        if is_ignored "$path"; then report_omission ignored-repository files - "$path"; else report_omission submodule loose - "$path"; fi
    done < <(sort -z /para-out/repositories | head -z -n "$most_within")
    while IFS= read -r -d '' path; do
        path=${path%HEAD} path=${path%/}
        ! is_bare "$path" || ! is_ignored "$path" || report_omission ignored-repository files - "$path"
    done </para-out/heads
    while IFS= read -r -d '' path; do
        path=${path%/HEAD}
        ! is_bare "$path" || report_omission submodule broken - "$path"
    done < <(! is_folder .git/modules || find .git/modules -name HEAD -type f -print0 | sort -z)
}
