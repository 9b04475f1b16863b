#!/bin/bash
# Part of snapshot.sh: creates trees of the files of the workspace.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

# renames paths that git on the host would refuse, or would read as its own files
sanitize_path() { # PATH OBJECT MODE; sets $safe_path
    local part rest=$1/ changed=
    safe_path=
    case ${1,,} in *.*g*i*t* | *git~* | *gi????~* | *gitmod~* | *gitatt~*) ;; *) safe_path=$1 && return ;; esac
    while [ -n "$rest" ]; do
        part=${rest%%/*} rest=${rest#*/}
        local -l bare=${part//[^ -~]/}
        case \\$bare in
        *'\.git' | *'\.git'[\ .:\\]* | *'\git~'* | *\\gi[0-9a-f][0-9a-f][0-9a-f][0-9a-f]~* | \
            *'\.gitmodules'* | *'\gitmod~'* | *'\.gitattributes'* | *'\gitatt~'*)
            part=${part//[^ -~]/_} part=${part//[:\\]/_}.refused changed=1
            ;;
        esac
        safe_path=$safe_path${safe_path:+/}$part
    done
    # a path that the host has already stays
    [ -z "$changed" ] || [ "$(git ls-tree -z "$head" -- "$1" | tr '\0' /)" != "$3 blob $2	$1/" ] ||
        safe_path=$1
}

# adds NUL-terminated paths to the index byte for byte, without attributes and filters
add_raw_files() {
    local path oid mode safe_path
    : >/para-out/files
    : >/para-out/entries
    while IFS= read -r -d '' path; do
        if [ ${#path} -ge 4096 ]; then
            echo "left out, since no program can open it: ${path:0:80}..."
        elif [ -L "$path" ]; then
            oid=$(readlink -n -- "$path" | git hash-object -w --stdin)
            sanitize_path "$path" "$oid" 120000
            printf '120000 %s\t%s\0' "$oid" "$safe_path" >>/para-out/entries
        else
            printf '%s\0' "$path" >>/para-out/files
        fi
    done
    xargs -0 -r git hash-object -w --no-filters -- </para-out/files >/para-out/oids
    while IFS= read -r -d '' path <&3 && read -r oid <&4; do
        [ -x "$path" ] && mode=100755 || mode=100644
        sanitize_path "$path" "$oid" "$mode"
        printf '%s %s\t%s\0' "$mode" "$oid" "$safe_path" >>/para-out/entries
    done 3</para-out/files 4</para-out/oids
    git update-index -z --index-info </para-out/entries
}
remove_below() { git ls-files -z -- ":(literal)$1" | workspace_git update-index -z --force-remove --stdin; }

# finds nested repositories and special files in one pass; a shared base checkout comes from git and
# has neither, so that only the session's layer is scanned
scan_files() {
    local path
    : >/para-out/heads
    (cd "$1" && find . -mindepth 1 -path ./.git -prune \
        -o -type c -fprintf /para-out/devices '%P\0' \
        -o -name .git -prune -fprintf /para-out/repositories '%P\0' \
        -o -name HEAD -type f -fprintf /para-out/heads '%P\0' \
        -o ! -type f ! -type l ! -type d -fprintf /para-out/specials '%P\0') || [ "$aim" = look ]
    # in a layer, a character device is a whiteout of a deleted file
    while IFS= read -r -d '' path; do
        [ ! -c "$path" ] || printf '%s\0' "$path" >>/para-out/specials
    done </para-out/devices
}
has_special() { grep -qzE "(^|/)\.git($1)\$" /para-out/specials; }

# copies the workspace's index, which records unchanged files; fails if flags hide changed files.
# Its timestamp is kept: git checks files that changed in the second in which it was written.
copy_index() {
    : >/para-out/listed
    is_file .git/index || return 1
    cp --preserve=timestamps .git/index "$GIT_INDEX_FILE" || return 1
    git ls-files -vz >/para-out/listed || { : >/para-out/listed && return 1; }
    [ ! -f /para-out/rootless ] && ! grep -qz '^[a-zS]' /para-out/listed
}
create_index() {
    rm -f "$GIT_INDEX_FILE"
    git read-tree "$head"
    # the files that a sparse checkout leaves out are not deleted
    sed -zn 's/^[Ss] //p' /para-out/listed | while IFS= read -r -d '' path; do
        [ -e "$path" ] || [ -L "$path" ] || printf '%s\0' "$path"
    done | sort -z >/para-out/absent
    git ls-files -z | sort -z | comm -z -12 - /para-out/absent |
        workspace_git update-index -z --skip-worktree --stdin
    # without the base commit, only the old index lists tracked files that are ignored
    [ ! -f /para-out/rootless ] || sed -z 's/^. //' /para-out/listed |
        while IFS= read -r -d '' path; do
            { ! is_file "$path" && [ ! -L "$path" ]; } || printf '%s\0' "$path"
        done | workspace_git update-index --add -z --stdin
}
add_files() {
    ! has_special 'ignore|attributes|modules' || refuse "git would wait for a file of its rules"
    [ ! -s /para-out/specials ] ||
        workspace_git update-index -z --force-remove --stdin </para-out/specials
    # without nested repositories: git would record their commit and drop their files
    local -A came=()
    local leave=() tries path
    [ ${#nested[@]} = 0 ] || read_links
    for path in "${nested[@]}"; do
        is_in_link "$path" || leave+=(":(exclude,literal)$path")
    done
    for tries in {1..40}; do
        printf '%s\0' . "${leave[@]}" | workspace_git add -A --sparse --ignore-errors \
            --pathspec-from-file=- --pathspec-file-nul 2>/para-out/adding && return 0
        cat /para-out/adding
        [ "$aim" = look ] && exclude_vanished || return 1
        grep -q ^fatal: /para-out/adding || return 0
    done
    return 1
}
# Excludes files that vanish while a running session is reviewed, and a folder after three of them:
# a review shows them in their previous state.
exclude_vanished() { # adds to $leave
    local path folder
    ! grep -qvE "^(fatal|error|warning): .*(No such file or directory|[Aa]dding files failed|unable to index file '.*')$" \
        /para-out/adding || return 1
    path=$(sed -n "s/^fatal: unable to stat '\(.*\)': No such file or directory$/\1/p" /para-out/adding)
    [ -n "$path" ] || return 0
    folder=.
    [[ $path != */* ]] || folder=${path%/*}
    leave+=(":(exclude,literal)$path")
    came[$folder]=$((${came[$folder]:-0} + 1))
    [ "${came[$folder]}" -lt 3 ] || [ "$folder" = . ] || leave+=(":(exclude,literal)$folder")
}

build_tree_by_rules() {
    if [ -n "$adding" ]; then
        wait "$adding"
    else
        create_index
        add_files
    fi
    restore_unchanged
    add_nested
}
# Restores index entries that changed only because attributes convert the files differently now: a
# file is unchanged if a checkout of the head writes the same bytes.
restore_unchanged() {
    local how path mode old
    : >/para-out/modified
    while IFS= read -r -d '' how && IFS= read -r -d '' path; do
        read -r mode _ old _ <<<"${how#:}"
        [[ $how != ":$mode $mode "* ]] || printf '%s %s\t%s\0' "$mode" "$old" "$path"
    done < <(git diff-index --cached --no-renames --raw -z --no-abbrev --diff-filter=M \
        --ignore-submodules=all "$head") >/para-out/modified
    [ -s /para-out/modified ] && has_conversion_rules || return 0
    mkdir /para-out/asis
    (
        export GIT_INDEX_FILE=/para-out/head-index
        cd /para-out/asis
        git read-tree "$head"
        sed -z 's/^[^\t]*\t//' /para-out/modified | git --work-tree=. checkout-index -q -f -z --stdin
    ) || true
    while IFS= read -r -d '' how; do
        path=${how#*	}
        if is_file "$path" && is_file "/para-out/asis/$path"; then printf '%s\0' "$how"; fi
    done </para-out/modified >/para-out/both
    sed -z 's/^[^\t]*\t//' /para-out/both >/para-out/paths
    xargs -0 -r git hash-object --no-filters -- </para-out/paths >/para-out/now
    (cd /para-out/asis && xargs -0 -r git hash-object --no-filters -- </para-out/paths) >/para-out/then
    while IFS= read -r -d '' how <&3 && read -r mode <&4 && read -r old <&5; do
        if [ "$mode" = "$old" ] || was_smudged "$mode ${how#* }"; then printf '%s\0' "$how"; fi
    done 3</para-out/both 4</para-out/now 5</para-out/then | git update-index -z --index-info
}
# whether attributes may convert the modified files
has_conversion_rules() {
    local value
    [ -z "$(git diff-index --cached --name-only "$head" -- ':(glob)**/.gitattributes')" ] || return 0
    sed -z 's/^[^\t]*\t//' /para-out/modified |
        workspace_git check-attr -z --stdin text eol crlf ident working-tree-encoding filter |
        while IFS= read -r -d '' _ && IFS= read -r -d '' _ && IFS= read -r -d '' value; do
            [ "$value" = unspecified ] || echo "$value"
        done >/para-out/ruled
    [ -s /para-out/ruled ]
}
# whether a filter of the user wrote a file: the list has the raw and the stored object
declare -A filtered=()
was_smudged() {
    local entry
    if [ ${#filtered[@]} = 0 ] && is_file .git/para-filtered; then
        while IFS= read -r -d '' entry; do filtered["=$entry"]=1; done <.git/para-filtered
    fi
    [ -n "${filtered["=$1"]+set}" ]
}

build_raw_tree() {
    local path
    git read-tree "$head"
    git ls-files -sz | sed -zn '/^160000 /p' >/para-out/links
    while IFS= read -r -d '' path; do
        remove_below "${path#*	}"
    done </para-out/links
    find . -mindepth 1 -name .git -prune -o \( -type f -o -type l \) -printf '%P\0' |
        sort -z >/para-out/found
    : >/para-out/ignored
    if ! has_special ignore; then
        workspace_git check-ignore -z --stdin </para-out/found | sort -z >/para-out/ignored || true
    fi
    git read-tree --empty
    add_raw_files < <(comm -z -23 /para-out/found /para-out/ignored)
    kept=$(git write-tree)
    # the branch has submodules unchanged; their files go only into the archive
    while IFS= read -r -d '' path; do
        path=${path#*	}
        [ "$aim" = look ] || [ -z "$(git ls-files -- ":(literal)$path")" ] ||
            report_omission submodule files - "$path"
        remove_below "$path"
    done </para-out/links
    git update-index -z --index-info </para-out/links
    tree=$(git write-tree)
}

# lists the changed files that need a filter, since filters do not run in this container
list_filtered() {
    : >/para-out/changed
    git diff-tree -r -z --no-renames --diff-filter=AMT --name-only "$base" "$tree" >/para-out/changed
    git log -z --no-renames --diff-filter=AMT --format= --name-only -m "$base..$head" |
        sed -z '/^$/d' >>/para-out/changed
    sort -zu -o /para-out/changed /para-out/changed
    [ -s /para-out/changed ] || return 0
    git grep -q filter "$base" "$tree" -- ':(glob)**/.gitattributes' || return 0
    { list_filtered_in "$tree" && list_filtered_in "$base"; } | sort -zu | head -z -n 1000 >/para-out/filtered
}
list_filtered_in() {
    local path value
    export GIT_INDEX_FILE=/para-out/rules
    git read-tree "$1"
    mkdir -p /para-out/nothing
    git --work-tree=/para-out/nothing check-attr -z --stdin filter </para-out/changed |
        while IFS= read -r -d '' path && IFS= read -r -d "" _ && IFS= read -r -d '' value; do
            case $value in unspecified | unset | '') ;; *) printf '%s\0' "$path" ;; esac
        done
    GIT_INDEX_FILE=/para-out/index
}
