#!/bin/bash
# Part of snapshot.sh: creates the commit that carries what a branch cannot contain.
#
# Its parents are the commits. Its tree has the file `manifest` with NUL-terminated lines
#   head REF-OR-COMMIT | ref OBJECT REF | stash COMMIT | tag OBJECT FILE | within COMMIT PATH
# and the texts of tags (tag-N), objects other than commits (object-N), the staged files (index),
# and bundles of nested repositories that are too large to copy completely (within-N.bundle).
# shellcheck disable=SC2034,SC2154 # the parts share their variables

add_entry() { printf '%s %s %s\t%s\n' "$1" "$2" "$3" "$4" >>/para-out/carried; }
write_manifest() { printf '%s\0' "$*" >>/para-out/manifest; }

carry() { # sets carrier: the option that adds this commit as a parent, if there is one
    local one parents=() needed=
    : >/para-out/carried
    : >/para-out/manifest
    if [ "$mode" != flat ]; then
        write_manifest head "$symbol"
        carry_refs
        carry_stashes
        carry_worktrees
        carry_index
    fi
    carry_within
    for one in "${tips[@]}" "${within[@]}"; do
        parents+=(-p "$one")
    done
    [ ${#parents[@]} = 0 ] || needed=1
    [ -n "$needed" ] || return 0
    add_entry 100644 blob "$(git hash-object -w /para-out/manifest)" manifest
    one=$(git mktree </para-out/carried)
    carrier=(-p "$(git commit-tree "$one" "${parents[@]}" -m 'para: what a branch cannot hold')")
}
carry_refs() {
    local type oid name n=0 own=refs/heads/$(cat /para-out/branch)
    # without a base commit, the head is a new object
    echo /para-out/git/objects >>/para-out/theirs/objects/info/alternates
    refs_git for-each-ref --no-merged="$head" --format='%(refname)' >/para-out/outside
    [ "$aim" != cancel ] || [ "$symbol" = "ref: $own" ] || needed=1
    while read -r type oid name; do
        [ "$name" != refs/stash ] || continue
        is_complete "$type" "$oid" || { report_omission branch broken "$oid" "$name" && continue; }
        if [ "$type" = tag ]; then
            needed=1
            carry_tag "$oid" || continue
        elif [ "$type" != commit ]; then
            needed=1
            carry_object "$type" "$oid"
        fi
        write_manifest ref "$oid" "$name"
        case $name in
        refs/tags/*) needed=1 && report_omission tag kept "$oid" "$name" ;;
        refs/bisect/* | refs/remotes/*) ;;
        *)
            [ "$aim" != cancel ] || [ "$name" = "$own" ] || needed=1
            ! grep -qxF -- "$name" /para-out/outside || report_omission branch kept "$oid" "$name"
            ;;
        esac
    done </para-out/new
}
is_complete() {
    local target=$2
    [ "$1" != tag ] || target=$(refs_git rev-parse -q --verify "$2^{}") || return 1
    [ "$1" != blob ] || return 0
    ! grep -qxF "$target" /para-out/broken
}
carry_tag() {
    local oid=$1 type
    while type=$(git cat-file -t "$oid") && [ "$type" = tag ]; do
        git cat-file tag "$oid" >/para-out/tag
        write_manifest tag "$oid" "tag-$((++n))"
        add_entry 100644 blob "$(git hash-object -w --no-filters /para-out/tag)" "tag-$n"
        oid=$(sed -n '1s/^object //p' /para-out/tag)
    done
    [ -n "$type" ] || return 1
    [ "$type" = commit ] || carry_object "$type" "$oid"
}
carry_object() {
    case $1 in
    blob) add_entry 100644 blob "$2" "object-$((++n))" ;;
    tree) ! is_countable "$2" || add_entry 040000 tree "$2" "object-$((++n))" ;;
    esac
}
carry_stashes() {
    local n=0 oid
    while read -r oid; do
        write_manifest stash "$oid"
        report_omission stash kept "$oid" "stash@{$((n++))}"
    done < <(list_stashes)
}
carry_worktrees() {
    local one oid
    for one in .git/worktrees/*/HEAD; do
        oid=$(first_line "$one")
        [[ $oid =~ ^$hex$ ]] && printf '%s\n' "${tips[@]}" | grep -qxF "$oid" || continue
        report_omission branch kept "$oid" "${one#.git/}"
    done
    while read -r one; do
        report_omission merge kept - "$one"
    done </para-out/stopped
}
carry_within() {
    local number
    [ -f /para-out/inner-names ] || return 0
    needed=1
    cat /para-out/inner-names >>/para-out/manifest
    for ((number = 1; number <= count; number++)); do
        [ ! -f "/para-out/within-$number/bundle" ] || add_entry 100644 blob \
            "$(git hash-object -w --no-filters "/para-out/within-$number/bundle")" "within-$number.bundle"
    done
}
# the staged files, if they differ from the files of the workspace
carry_index() {
    local staged
    is_file .git/index || return 0
    [ "$aim" = cancel ] || [ -n "$needed" ] || [ ${#tips[@]} -gt 0 ] || return 0
    cp .git/index /para-out/staged
    staged=$(
        export GIT_INDEX_FILE=/para-out/staged
        git ls-files -uz | sed -z 's/^[^\t]*\t//' | sort -zu |
            workspace_git update-index -z --force-remove --stdin
        git write-tree
    ) || return 0
    [ "$staged" != "$kept" ] && [ "$staged" != "$tree" ] && is_countable "$staged" || return 0
    [ "$staged" != "$(git rev-parse "$head^{tree}")" ] || return 0
    git rev-list --quiet --objects "$staged" || return 0
    add_entry 040000 tree "$staged" index
    needed=1
}
