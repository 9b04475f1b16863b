#!/bin/bash
# Runs in the session's container, in a tmux pane: the agent, its output and its state.
# in, which the host writes: argv, environment, keeps, seeds (NUL after each part), manner, status
# out: state (word, time, detail), output, pid while the agent runs, resting while it is ended, alive
in=/para-agent/in
out=/para-agent/out
kept=/para-agent/kept

say() {
    printf '%s\n%s\n%s\n' "$1" "$EPOCHREALTIME" "$2" >"$out/state.new" &&
        mv -f "$out/state.new" "$out/state"
}

# As long as this process lives it holds a lock, which the kernel drops with it, however it ends.
# What the lock is worth the host knows by the kernel's own id.
vouch() {
    exec 7>"$out/alive" && flock 7 && cat /proc/sys/kernel/random/boot_id >&7
} 2>/dev/null

# Conversations outlast the container: they are kept in the session's folder on the host.
keep() {
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

# What the agent would ask a person about when it is new.
seed() {
    local path text
    while IFS= read -r -d '' path && IFS= read -r -d '' text; do
        [ -e "$HOME/$path" ] && continue
        mkdir -p "$(dirname "$HOME/$path")"
        printf '%s' "$text" >"$HOME/$path"
    done <"$in/seeds"
}

# Becomes the agent, in a subshell: it alone has its variables and its secrets.
agent() {
    local pair
    while IFS= read -r -d '' pair; do export "$pair"; done < <(cat "$in/environment" "$1")
    echo "$BASHPID" >"$out/pid"
    exec "${argv[@]}"
}

# Some of what happens to an agent no hook tells: a person interrupts it, a dialog opens or is
# answered. Its own status file does; where what it says is newer, and stays, it is right.
watch() {
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
        since=${since//[.,]/} # microseconds now, and the status has milliseconds
        [[ $since =~ ^[1-9][0-9]{0,17}$ ]] || since=0
        verdict=$(judged "$status" "$word" "$ticks" $((at - since / 1000))) || continue
        [ "$word ${detail:0:200}" = "$verdict" ] || say "${verdict%% *}" "${verdict#* }"
    done 2>/dev/null
}

judged() { # status, state, for how long (half seconds), how much newer the status is
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
            [ "$3" -ge 60 ] && echo "waiting it has not begun its task" ;;
        *) return 1 ;;
    esac
}

# Waits until all that was printed is recorded. What a process left behind may yet print, in a pipe
# that it holds open, is waited for a short while.
written() { # pid of the record
    local pipe turn
    pipe=$(readlink "/proc/$1/fd/0")
    for turn in {1..500}; do
        kill -0 "$1" 2>/dev/null || return
        [ "$turn" -gt 100 ] && held "$pipe" && return
        sleep 0.02
    done
}

held() { # a pipe that somebody may write to
    find /proc/[0-9]*/fd -lname "${1//[/\\[}" -perm -200 2>/dev/null | grep -q .
}

ended() {
    rm -f "$out/pid"
    [ -e "$out/resting" ] && return # the host ends it, and what it was at is of interest later
    local why="exit code $1"
    [ "$1" -gt 128 ] && why="killed by signal $(($1 - 128))"
    if [ "$1" = 0 ]; then
        say "$2" "$why"
        return
    fi
    say failed "$why"
    # what an agent that draws on the terminal has said last
    [ "$2" = exited ] && tmux capture-pane -p -S -200 -t "$TMUX_PANE" | cat -s >>"$out/output"
}

main() {
    local code watcher record
    rm -f "$out/resting" "$out/pid"
    vouch
    keep
    seed
    mapfile -d '' -t argv <"$in/argv"
    trap : INT QUIT # what a person types is for the agent
    if [ "$(cat "$in/manner")" = terminal ]; then
        watch 7>&- &
        watcher=$!
        (agent "$1") 7>&-
        code=$?
        kill "$watcher"
        ended "$code" exited
    else
        say working ""
        exec 8> >(exec bash "$in/record.sh" 7>&-)
        record=$! # of a substitution that belongs to the agent's subshell this one knows no pid
        (agent "$1") >&8 2>&1 7>&- 8>&-
        code=$?
        exec 8>&-
        written "$record"
        ended "$code" "done"
    fi
    exec 7>&-
    # who attaches finds a shell in the workspace
    if command -v zsh >/dev/null; then exec zsh; fi
    exec bash
}

main "$@"
