#!/bin/bash
# Runs in the session's container, as an exec of the host: types in/text for the agent. A single
# digit answers an open dialog. For any other text the dialog is closed first, since Enter would
# confirm it.
in=/para-agent/in
out=/para-agent/out
read -r pid 2>/dev/null <"$out/pid" && kill -0 "$pid" || exit 3
template=$(cat "$in/status")
status_file="$HOME/${template/"{pid}"/$pid}"
line=""

has_dialog() { # by the agent's own status file, which has no newline
    [ -n "$template" ] || return 1
    IFS= read -r line 2>/dev/null <"$status_file"
    [[ $line == *'"status":"waiting"'* ]]
}

has_request() { # by the hook's state, which changes a little before the screen does
    local word="" event=""
    { read -r word && read -r && read -r -n 1 event; } 2>/dev/null <"$out/state"
    [ "$word" = waiting ] && [ "$event" = "{" ]
}

has_reacted() { # a hook has reported an event since the text was typed
    local word="" since="" event=""
    { read -r word && read -r since && read -r -n 1 event; } 2>/dev/null <"$out/state"
    [[ "$since" > "$typed_at" ]] && { [ "$word" != waiting ] || [ "$event" = "{" ]; }
}

wait_for() { # until a command succeeds, at most $1 tenths of a second
    local tenths
    for ((tenths = $1; tenths > 0; tenths--)); do
        "${@:2}" && return
        sleep 0.1
    done
    return 1
}

if [ -n "$template" ] && [ ! -e "$status_file" ]; then # the agent is still starting
    wait_for 300 test -e "$status_file"
    sleep 1
fi
if has_request; then wait_for 20 has_dialog; fi
if has_dialog; then
    text=$(cat "$in/text")
    shown=$line
    sleep 0.3 # a dialog that has just opened may ignore keys
    if [[ $text == [0-9] ]]; then
        answered() { ! has_dialog || [ "$line" != "$shown" ]; }
        for _ in 1 2 3; do # it ignores keys that come right after others
            tmux send-keys -t agent -l "$text" || exit 1
            wait_for 30 answered && exit 0
        done
        echo "the agent did not accept the answer"
        exit 1
    fi
    tmux send-keys -t agent Escape
    closed() { ! has_dialog; }
    wait_for 50 closed || exit 4
fi
typed_at=$EPOCHREALTIME
tmux load-buffer -b para "$in/text" && tmux paste-buffer -p -r -d -b para -t agent || exit 1
for _ in 1 2 3; do
    sleep 0.3 # an Enter right after a paste would count as part of it
    has_reacted && exit 0
    has_dialog && exit 4
    tmux send-keys -t agent Enter || exit 1
    [ -n "$template" ] || exit 0
    wait_for 10 has_reacted && exit 0 # another Enter is harmless
done
exit 0
