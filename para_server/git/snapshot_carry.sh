#!/bin/bash
# Part of snapshot.sh: makes the commit that carries what a branch cannot hold, with its names.
#
# Its parents are the commits. Its tree has `manifest`, whose NUL-ended lines say
#   head REF-OR-COMMIT | ref OBJECT REF | stash COMMIT | tag OBJECT FILE | within COMMIT PATH
# and beside it the texts of tags (tag-N), objects that are no commits (object-N), what was staged
# (index), and bundles of repositories that are too large to be brought whole (within-N.bundle).
# shellcheck disable=SC2034,SC2154 # the parts share their variables

entry() { printf '%s %s %s\t%s\n' "$1" "$2" "$3" "$4" >>/para-out/carried; }
note() { printf '%s\0' "$*" >>/para-out/manifest; }

carry() { # sets carrier: how a commit names it as its parent, where there is anything to carry
    local one parents=() needed=
    : >/para-out/carried
    : >/para-out/manifest
    if [ "$mode" != flat ]; then
        note head "$symbol"
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
    entry 100644 blob "$(git hash-object -w /para-out/manifest)" manifest
    one=$(git mktree </para-out/carried)
    carrier=(-p "$(git commit-tree "$one" "${parents[@]}" -m 'para: what a branch cannot hold')")
}
carry_refs() {
    local type oid name n=0 own=refs/heads/$(cat /para-out/branch)
    # without a base, the head was made just now
    echo /para-out/git/objects >>/para-out/theirs/objects/info/alternates
    theirs for-each-ref --no-merged="$head" --format='%(refname)' >/para-out/outside
    [ "$aim" != cancel ] || [ "$symbol" = "ref: $own" ] || needed=1
    while read -r type oid name; do
        [ "$name" != refs/stash ] || continue
        whole "$type" "$oid" || { left branch broken "$oid" "$name" && continue; }
        if [ "$type" = tag ]; then
            needed=1
            carry_tag "$oid" || continue
        elif [ "$type" != commit ]; then
            needed=1
            carry_object "$type" "$oid"
        fi
        note ref "$oid" "$name"
        case $name in
        refs/tags/*) needed=1 && left tag kept "$oid" "$name" ;;
        refs/bisect/* | refs/remotes/*) ;;
        *)
            [ "$aim" != cancel ] || [ "$name" = "$own" ] || needed=1
            ! grep -qxF -- "$name" /para-out/outside || left branch kept "$oid" "$name"
            ;;
        esac
    done </para-out/new
}
whole() {
    local target=$2
    [ "$1" != tag ] || target=$(theirs rev-parse -q --verify "$2^{}") || return 1
    [ "$1" != blob ] || return 0
    ! grep -qxF "$target" /para-out/broken
}
carry_tag() {
    local oid=$1 type
    while type=$(git cat-file -t "$oid") && [ "$type" = tag ]; do
        git cat-file tag "$oid" >/para-out/tag
        note tag "$oid" "tag-$((++n))"
        entry 100644 blob "$(git hash-object -w --no-filters /para-out/tag)" "tag-$n"
        oid=$(sed -n '1s/^object //p' /para-out/tag)
    done
    [ -n "$type" ] || return 1
    [ "$type" = commit ] || carry_object "$type" "$oid"
}
carry_object() {
    case $1 in
    blob) entry 100644 blob "$2" "object-$((++n))" ;;
    tree) ! countable "$2" || entry 040000 tree "$2" "object-$((++n))" ;;
    esac
}
carry_stashes() {
    local n=0 oid
    while read -r oid; do
        note stash "$oid"
        left stash kept "$oid" "stash@{$((n++))}"
    done < <(stashes)
}
carry_worktrees() {
    local one oid
    for one in .git/worktrees/*/HEAD; do
        oid=$(told "$one")
        [[ $oid =~ ^$hex$ ]] && printf '%s\n' "${tips[@]}" | grep -qxF "$oid" || continue
        left branch kept "$oid" "${one#.git/}"
    done
    while read -r one; do
        left merge kept - "$one"
    done </para-out/stopped
}
carry_within() {
    local number
    [ -f /para-out/inner-names ] || return 0
    needed=1
    cat /para-out/inner-names >>/para-out/manifest
    for ((number = 1; number <= count; number++)); do
        [ ! -f "/para-out/within-$number/bundle" ] || entry 100644 blob \
            "$(git hash-object -w --no-filters "/para-out/within-$number/bundle")" "within-$number.bundle"
    done
}
# what was staged, where no file has it any more
carry_index() {
    local staged
    is_file .git/index || return 0
    [ "$aim" = cancel ] || [ -n "$needed" ] || [ ${#tips[@]} -gt 0 ] || return 0
    cp .git/index /para-out/staged
    staged=$(
        export GIT_INDEX_FILE=/para-out/staged
        git ls-files -uz | sed -z 's/^[^\t]*\t//' | sort -zu |
            ours update-index -z --force-remove --stdin
        git write-tree
    ) || return 0
    [ "$staged" != "$kept" ] && [ "$staged" != "$tree" ] && countable "$staged" || return 0
    [ "$staged" != "$(git rev-parse "$head^{tree}")" ] || return 0
    git rev-list --quiet --objects "$staged" || return 0
    entry 040000 tree "$staged" index
    needed=1
}
