#!/bin/bash
# Part of snapshot.sh: makes trees of the files of the workspace.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

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
    [ -z "$changed" ] || [ "$(git ls-tree -z "$head" -- "$1" | tr '\0' /)" != "$3 blob $2	$1/" ] ||
        called=$1
}

# takes NUL-ended paths into the index byte for byte: attributes are not read, filters do not run
take() {
    local path oid mode called
    : >/para-out/files
    : >/para-out/entries
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
    : >/para-out/heads
    (cd "$1" && find . -mindepth 1 -path ./.git -prune \
        -o -type c -fprintf /para-out/devices '%P\0' \
        -o -name .git -prune -fprintf /para-out/repositories '%P\0' \
        -o -name HEAD -type f -fprintf /para-out/heads '%P\0' \
        -o ! -type f ! -type l ! -type d -fprintf /para-out/specials '%P\0') || [ "$aim" = look ]
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
    [ ! -f /para-out/rootless ] && ! grep -qz '^[a-zS]' /para-out/listed
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
    # without the base nothing but the old index knows what was tracked though rules ignore it
    [ ! -f /para-out/rootless ] || sed -z 's/^. //' /para-out/listed |
        while IFS= read -r -d '' path; do
            { ! is_file "$path" && [ ! -L "$path" ]; } || printf '%s\0' "$path"
        done | ours update-index --add -z --stdin
}
add() {
    ! special 'ignore|attributes|modules' || refuse "git would wait for a file of its rules"
    [ ! -s /para-out/specials ] ||
        ours update-index -z --force-remove --stdin </para-out/specials
    # repositories within: git would note their commit and drop their files
    local -A came=()
    local leave=() tries path
    [ ${#nested[@]} = 0 ] || read_links
    for path in "${nested[@]}"; do
        in_link "$path" || leave+=(":(exclude,literal)$path")
    done
    for tries in {1..40}; do
        printf '%s\0' . "${leave[@]}" | ours add -A --sparse --ignore-errors \
            --pathspec-from-file=- --pathspec-file-nul 2>/para-out/adding && return 0
        cat /para-out/adding
        [ "$aim" = look ] && vanishing || return 1
        grep -q ^fatal: /para-out/adding || return 0
    done
    return 1
}
# Whoever looks at a session at work sees files come and go: what vanishes is shown as it was
# before, and so is a folder where one after the other does.
vanishing() { # adds to $leave
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

as_git_adds() {
    if [ -n "$adding" ]; then
        wait "$adding"
    else
        make_index
        add
    fi
    as_they_were
    add_within
}
# Git adds a file anew that it does not know to be unchanged, by the rules that hold now: what a
# checkout of the head writes byte for byte, nobody has changed.
as_they_were() {
    local how path mode old
    : >/para-out/modified
    while IFS= read -r -d '' how && IFS= read -r -d '' path; do
        read -r mode _ old _ <<<"${how#:}"
        [[ $how != ":$mode $mode "* ]] || printf '%s %s\t%s\0' "$mode" "$old" "$path"
    done < <(git diff-index --cached --no-renames --raw -z --no-abbrev --diff-filter=M \
        --ignore-submodules=all "$head") >/para-out/modified
    [ -s /para-out/modified ] && ruled || return 0
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
        if [ "$mode" = "$old" ] || smudged "$mode ${how#* }"; then printf '%s\0' "$how"; fi
    done 3</para-out/both 4</para-out/now 5</para-out/then | git update-index -z --index-info
}
# whether rules may let the same content come out in another way than it went in
ruled() {
    local value
    [ -z "$(git diff-index --cached --name-only "$head" -- ':(glob)**/.gitattributes')" ] || return 0
    sed -z 's/^[^\t]*\t//' /para-out/modified |
        ours check-attr -z --stdin text eol crlf ident working-tree-encoding filter |
        while IFS= read -r -d '' _ && IFS= read -r -d '' _ && IFS= read -r -d '' value; do
            [ "$value" = unspecified ] || echo "$value"
        done >/para-out/ruled
    [ -s /para-out/ruled ]
}
# what the user's own filters wrote when the session began: the raw object, and what it came from
declare -A filtered=()
smudged() {
    local entry
    if [ ${#filtered[@]} = 0 ] && is_file .git/para-filtered; then
        while IFS= read -r -d '' entry; do filtered["=$entry"]=1; done <.git/para-filtered
    fi
    [ -n "${filtered["=$1"]+set}" ]
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
        path=${path#*	}
        [ "$aim" = look ] || [ -z "$(git ls-files -- ":(literal)$path")" ] ||
            left submodule files - "$path"
        drop_below "$path"
    done </para-out/links
    git update-index -z --index-info </para-out/links
    tree=$(git write-tree)
}

# names the changed files that a filter would have to make, which is not there in here
find_filtered() {
    : >/para-out/changed
    git diff-tree -r -z --no-renames --diff-filter=AMT --name-only "$base" "$tree" >/para-out/changed
    git log -z --no-renames --diff-filter=AMT --format= --name-only -m "$base..$head" |
        sed -z '/^$/d' >>/para-out/changed
    sort -zu -o /para-out/changed /para-out/changed
    [ -s /para-out/changed ] || return 0
    git grep -q filter "$base" "$tree" -- ':(glob)**/.gitattributes' || return 0
    { filters_in "$tree" && filters_in "$base"; } | sort -zu | head -z -n 1000 >/para-out/filtered
}
filters_in() {
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
