#!/bin/bash
# Runs in the session's container, in a tmux pane: the agent, its output and its state.
# in, which the host writes: argv, environment and keeps (NUL after each), manner
# out: state (word, seconds, detail), output, pid while the agent runs, resting while it is ended
in=/para-agent/in
out=/para-agent/out
kept=/para-agent/kept

say() {
    printf '%s\n%(%s)T\n%s\n' "$1" -1 "$2" >"$out/state.new" && mv -f "$out/state.new" "$out/state"
}

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

# Becomes the agent, in a subshell: it alone has its variables and its secrets.
agent() {
    local pair
    while IFS= read -r -d '' pair; do export "$pair"; done < <(cat "$in/environment" "$1")
    echo "$BASHPID" >"$out/pid"
    exec "${argv[@]}"
}

ended() {
    rm -f "$out/pid"
    [ -e "$out/resting" ] && return # the host ends it, and what it was at is of interest later
    local why="exit code $1"
    [ "$1" -gt 128 ] && why="killed by signal $(($1 - 128))"
    if [ "$1" != 0 ]; then say failed "$why"; else say "$2" "$why"; fi
}

main() {
    local code
    rm -f "$out/resting" "$out/pid"
    keep
    mapfile -d '' -t argv <"$in/argv"
    trap : INT QUIT # what a person types is for the agent
    if [ "$(cat "$in/manner")" = terminal ]; then
        (agent "$1")
        code=$?
        [ "$code" = 0 ] || tmux capture-pane -p -S -200 -t "$TMUX_PANE" | cat -s >>"$out/output"
        ended "$code" exited
    else
        say working ""
        (agent "$1") > >(exec tee -a "$out/output") 2>&1
        code=$?
        for _ in {1..40}; do # what a process left behind may hold the pipe open
            kill -0 $! 2>/dev/null || break
            sleep 0.05
        done
        ended "$code" "done"
    fi
    # who attaches finds a shell in the workspace
    if command -v zsh >/dev/null; then exec zsh; fi
    exec bash
}

main "$@"
