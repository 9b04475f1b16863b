#!/bin/bash
# Part of snapshot.sh: reads the refs, stashes and stopped operations of a repository.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

most_refs=5000
hex='[0-9a-f]{40}([0-9a-f]{24})?'

# usage: lend_objects GIT-FOLDER NAME: makes the objects of a repository readable in /para-out/NAME;
# links and pipes are refused, since git follows the first and waits for the second
lend_objects() {
    local folder objects
    for folder in "$1" "$1/objects" "$1/refs"; do
        is_folder "$folder" || refuse "$folder is no folder"
    done
    [ -z "$(find "$1/refs" "$1/objects" -path "$1/objects/info" -prune -o \
        ! -type f ! -type d -print -quit)" ] || refuse "a link or a pipe is among objects and refs"
    objects=$(realpath -- "$1/objects")
    # not the whole store: it may name further stores, and have false indexes of packs
    mkdir -p "/para-out/lent/$2"
    for folder in "$objects"/pack "$objects"/[0-9a-f][0-9a-f]; do
        [ ! -d "$folder" ] || ln -s "$folder" "/para-out/lent/$2/"
    done
    echo "/para-out/lent/$2" >>"/para-out/$2/objects/info/alternates"
}
# makes the objects of a repository, and those created for it, readable in $GIT_DIR
share_stores() { printf '%s\n' "/para-out/lent/$1" "/para-out/$1/objects" >>"$GIT_DIR/objects/info/alternates"; }
copy_refs() { # GIT-FOLDER NAME
    (cd "$1" && find refs -type f -print0 | xargs -0 -r cp --parents -t "/para-out/$2")
    # git would reject the whole file for one invalid line
    ! is_file "$1/packed-refs" || ! grep -E '^[0-9a-f]{40,64} refs/[^ ]+$' "$1/packed-refs" \
        >"/para-out/$2/packed-refs" || true
    mkdir -p "/para-out/$2/logs/refs"
    ! is_file "$1/logs/refs/stash" || cp "$1/logs/refs/stash" "/para-out/$2/logs/refs/"
}
resolve_commit() { refs_git rev-parse -q --verify --end-of-options "$1^{commit}"; }
# without a commit, as on a new orphan branch, the head is the base commit
find_head() {
    symbol=$(first_line .git/HEAD)
    case $symbol in
    "ref: refs/"*) head=$(resolve_commit "${symbol#ref: }") || head=$base ;;
    *) head=$(resolve_commit "$symbol") || head=$base ;;
    esac
    # a head that the host could not check out is kept beside the branch
    [ "$head" = "$base" ] || is_countable "$head" || head=$base
}
# a few nested trees can expand to more files than memory can hold
is_countable() {
    local count
    count=$(set +o pipefail && git ls-tree -r --name-only "$1" | head -n "$most_files" | wc -l)
    [ "$count" -lt "$most_files" ]
}

# finds operations of git that wait for the user or the agent, and conflicts
find_stopped() {
    local step end
    : >/para-out/stopped
    step=$(first_line .git/rebase-merge/msgnum)$(first_line .git/rebase-apply/next)
    end=$(first_line .git/rebase-merge/end)$(first_line .git/rebase-apply/last)
    if is_folder .git/rebase-merge || is_file .git/rebase-apply/rebasing; then
        echo "rebase ${step//[!0-9]/} ${end//[!0-9]/}"
    elif is_folder .git/rebase-apply; then
        echo "am ${step//[!0-9]/} ${end//[!0-9]/}"
    fi >>/para-out/stopped
    for step in MERGE CHERRY_PICK REVERT; do
        [[ ! $(first_line ".git/${step}_HEAD") =~ ^$hex$ ]] || echo "${step,,}" >>/para-out/stopped
    done
    ! is_file .git/BISECT_START || echo bisect >>/para-out/stopped
    if [ ! -s /para-out/stopped ] && is_file .git/sequencer/todo; then
        echo sequence >>/para-out/stopped
    fi
    ! is_file .git/index || GIT_INDEX_FILE=$work/.git/index git ls-files -uz |
        sed -z 's/^[^\t]*\t//' | sort -zu | head -z -n 1000 >/para-out/conflicts || true
}
# prints the commits that a stopped operation continues with or returns to
list_operation_commits() {
    local one
    for one in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD REBASE_HEAD ORIG_HEAD \
        sequencer/head sequencer/abort-safety rebase-merge/{orig-head,onto,stopped-sha,autostash} \
        rebase-apply/{orig-head,abort-safety,original-commit,autostash}; do
        ! is_file ".git/$one" || head -c 4000 ".git/$one" | grep -aoE "^$hex" || true
    done
}

# prints the refs that the session created or changed
list_new_refs() {
    refs_git for-each-ref --format='%(objectname) %(refname)' |
        if is_file .git/para-given; then grep -avxFf .git/para-given || true; else cat; fi |
        head -n "$most_refs" |
        git cat-file --batch-check='%(objecttype) %(objectname) %(rest)' |
        { grep -aE "^(commit|tag|tree|blob) $hex refs/" || true; }
}
list_stashes() {
    [ ! -f /para-out/theirs/logs/refs/stash ] || refs_git log -g --format=%H refs/stash -- || true
}
list_candidates() {
    local one
    cut -d' ' -f2 /para-out/new
    list_stashes
    for one in .git/worktrees/*/HEAD; do
        first_line "$one"
    done
    # cancel keeps all work, so commits that were reset are kept too
    if [ "$aim" = cancel ] && is_file .git/logs/HEAD; then
        tail -n 1000 .git/logs/HEAD | awk '{print $2}'
    fi
    [ "$aim" != cancel ] && [ ! -s /para-out/stopped ] || list_operation_commits
}
# sets tips: the complete commits that neither the head nor the base commit reaches
find_tips() {
    local found
    list_new_refs >/para-out/new
    { list_candidates || true; } | { grep -aE "^$hex\$" || true; } | awk '!seen[$0]++' | head -n "$most_refs" |
        sed 's/$/^{commit}/' | git cat-file --batch-check='%(objectname)' | { grep -xE "$hex" || true; } |
        awk '{print "create refs/candidates/" NR " " $0}' | git update-ref --stdin
    mapfile -t found < <(git for-each-ref --format='%(objectname)' \
        --no-merged="$head" --no-merged="$base" refs/candidates | awk '!seen[$0]++')
    keep_complete "${found[@]}"
}
keep_complete() {
    local one
    : >/para-out/broken
    [ $# -gt 0 ] || return 0
    if printf '%s\n' "$@" "^$head" "^$base" | git rev-list --quiet --objects --stdin; then
        tips+=("$@")
        return
    fi
    for one in "$@"; do
        # an incomplete commit must not exclude the others
        if git rev-list --quiet --objects "$one" --not "$head" "$base"; then
            tips+=("$one")
        else
            echo "$one" >>/para-out/broken
        fi
    done
}
# reports refs by name and value only, without reading their objects
report_refs() {
    local oid name own
    own=$(cat /para-out/branch)
    is_folder .git || return 0
    {
        name=$(first_line .git/HEAD)
        [[ ! $name =~ ^$hex$ ]] || printf '%s HEAD\n' "$name"
        ! is_file .git/packed-refs || head -c 1000000 .git/packed-refs | grep -aE "^$hex refs/" || true
        ! is_folder .git/refs || (cd .git && find refs -type f -print0) | head -z -n "$most_refs" |
            while IFS= read -r -d '' name; do
                read -r -n 100 oid <".git/$name" || true
                printf '%s %s\n' "$oid" "${name//$'\n'/?}"
            done
    } 2>/dev/null | if is_file .git/para-given; then grep -avxFf .git/para-given || true; else cat; fi |
        tr -d '\0' | awk '!seen[$0]++' | head -n "$most_refs" |
        while read -r oid name; do
            [ "$oid $name" != "$base refs/heads/$own" ] || continue
            case $name in
            refs/stash) report_omission stash broken - 'stash' ;;
            refs/tags/*) report_omission tag broken - "$name" ;;
            refs/remotes/* | refs/bisect/*) ;;
            *) report_omission branch broken - "$name" ;;
            esac
        done
}
