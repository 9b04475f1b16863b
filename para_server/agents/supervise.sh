#!/bin/bash
# Runs in the session's container, in a tmux pane: runs the agent, and records its output and state.
# in, which the host writes: argv, environment, keeps, seeds (NUL after each part), manner, status
# out: state (word, time, detail), output, pid while the agent runs, resting while the host ends it,
# alive while this process runs
in=/para-agent/in
out=/para-agent/out
kept=/para-agent/kept

write_state() {
    printf '%s\n%s\n%s\n' "$1" "$EPOCHREALTIME" "$2" >"$out/state.new" &&
        mv -f "$out/state.new" "$out/state"
}

# Locks a file for as long as this process lives: the kernel releases the lock however it ends.
# The file has the boot id, by which the host knows whether the lock is of its own kernel.
lock_alive() {
    exec 7>"$out/alive" && flock 7 && cat /proc/sys/kernel/random/boot_id >&7
} 2>/dev/null

# Conversations outlive the container: their folders become links into the session's folder on the
# host.
link_conversations() {
    local path
    while IFS= read -r -d '' path; do
        [ -L "$HOME/$path" ] && continue
        mkdir -p "$kept/$path" "$(dirname "$HOME/$path")"
        if [ -d "$HOME/$path" ]; then
            cp -a "$HOME/$path/." "$kept/$path/" && rm -rf "${HOME:?}/$path"
        fi
        ln -s "$kept/$path" "$HOME/$path"
    done <"$in/keeps"
}

# Creates the files without which the agent would ask questions on its first start.
create_seeds() {
    local path text
    while IFS= read -r -d '' path && IFS= read -r -d '' text; do
        [ -e "$HOME/$path" ] && continue
        mkdir -p "$(dirname "$HOME/$path")"
        printf '%s' "$text" >"$HOME/$path"
    done <"$in/seeds"
}

# Replaces a subshell with the agent, the only process with its variables and secrets.
exec_agent() {
    local pair
    while IFS= read -r -d '' pair; do export "$pair"; done < <(cat "$in/environment" "$1")
    echo "$BASHPID" >"$out/pid"
    exec "${argv[@]}"
}

# Some changes have no hook: the user interrupts the agent, a dialog opens or is answered. The
# agent's own status file shows them; if it is newer than the state and stable, it is right.
watch_status() {
    local template status_file pid line status at word since detail before="" ticks=0 verdict
    template=$(cat "$in/status")
    [ -n "$template" ] || return
    exec 9<> <(:)
    while read -r -t 0.5 -u 9; [ -d /proc/$$ ]; do
        read -r pid <"$out/pid" || continue
        status_file="$HOME/${template/"{pid}"/$pid}"
        line="" status="" at=0
        IFS= read -r line <"$status_file"
        [[ $line =~ \"status\":\"([a-z]+)\" ]] && status=${BASH_REMATCH[1]}
        [[ $line =~ \"statusUpdatedAt\":([0-9]+) ]] && at=${BASH_REMATCH[1]}
        word="" since="" detail=""
        { read -r word && read -r since && IFS= read -r detail; } <"$out/state"
        ticks=$((ticks + 1))
        [ "$before" = "$status $word $since $detail" ] || ticks=0
        before="$status $word $since $detail"
        since=${since//[.,]/} # in microseconds; the status file has milliseconds
        [[ $since =~ ^[1-9][0-9]{0,17}$ ]] || since=0
        verdict=$(derive_state "$status" "$word" "$ticks" $((at - since / 1000))) || continue
        [ "$word ${detail:0:200}" = "$verdict" ] || write_state "${verdict%% *}" "${verdict#* }"
    done 2>/dev/null
}

derive_state() { # status, state, half seconds unchanged, milliseconds that the status is newer
    case "$1:$2" in
        busy:waiting | busy:done | busy:failed)
            [ "$3" -ge 2 ] && [ "$4" -gt 0 ] && echo "working " ;;
        idle:working | idle:waiting)
            [ "$3" -ge 2 ] && [ "$4" -gt 0 ] && echo "waiting it was interrupted" ;;
        waiting:working | waiting:starting)
            [ "$3" -ge 4 ] && echo "waiting it shows a dialog" ;;
        busy:starting)
            [ "$3" -ge 2 ] && echo "working " ;;
        *:starting)
            [ "$3" -ge 60 ] && echo "waiting it has not started its task" ;;
        *) return 1 ;;
    esac
}

# Wait until all output is recorded; for output of a process that the agent left, only a short while.
wait_for_record() { # pid of record.sh
    local pipe turn
    pipe=$(readlink "/proc/$1/fd/0")
    for turn in {1..500}; do
        kill -0 "$1" 2>/dev/null || return
        [ "$turn" -gt 100 ] && has_writer "$pipe" && return
        sleep 0.02
    done
}

has_writer() { # pipe
    find /proc/[0-9]*/fd -lname "${1//[/\\[}" -perm -200 2>/dev/null | grep -q .
}

report_end() {
    rm -f "$out/pid"
    [ -e "$out/resting" ] && return # the host ends it, and needs its last state later
    local why="exit code $1"
    [ "$1" -gt 128 ] && why="killed by signal $(($1 - 128))"
    if [ "$1" = 0 ]; then
        write_state "$2" "$why"
        return
    fi
    write_state failed "$why"
    # the last screen of an agent that draws on the terminal
    [ "$2" = exited ] && tmux capture-pane -p -S -200 -t "$TMUX_PANE" | cat -s >>"$out/output"
}

main() {
    local code watcher record
    rm -f "$out/resting" "$out/pid"
    lock_alive
    link_conversations
    create_seeds
    mapfile -d '' -t argv <"$in/argv"
    trap : INT QUIT # keys are for the agent
    if [ "$(cat "$in/manner")" = terminal ]; then
        watch_status 7>&- &
        watcher=$!
        (exec_agent "$1") 7>&-
        code=$?
        kill "$watcher"
        report_end "$code" exited
    else
        write_state working ""
        exec 8> >(exec bash "$in/record.sh" 7>&-)
        record=$! # inside the subshell of the agent, its pid would not be known here
        (exec_agent "$1") >&8 2>&1 7>&- 8>&-
        code=$?
        exec 8>&-
        wait_for_record "$record"
        report_end "$code" "done"
    fi
    exec 7>&-
    # a user who attaches gets a shell in the workspace
    if command -v zsh >/dev/null; then exec zsh; fi
    exec bash
}

main "$@"
