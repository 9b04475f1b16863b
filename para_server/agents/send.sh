#!/bin/bash
# Runs in the session's container, as an exec of the host: types in/text for the agent. A dialog
# takes a single digit as it is; for any other text it is closed first, since Enter would say yes.
in=/para-agent/in
out=/para-agent/out
read -r pid 2>/dev/null <"$out/pid" && kill -0 "$pid" || exit 3

template=$(cat "$in/status")
line="" # of the agent's status file
dialog() {
    [ -n "$template" ] || return 1
    IFS= read -r line 2>/dev/null <"$HOME/${template/"{pid}"/$pid}"
    [[ $line == *'"status":"waiting"'* ]]
}

# Its hook is a little ahead of its screen.
asks() {
    local word="" event=""
    { read -r word && read -r && read -r -n 1 event; } 2>/dev/null <"$out/state"
    [ "$word" = waiting ] && [ "$event" = "{" ]
}

if asks; then
    for _ in {1..20}; do
        dialog && break
        sleep 0.1
    done
fi
if dialog; then
    text=$(cat "$in/text")
    if [[ $text == [0-9] ]]; then
        shown=$line
        sleep 0.3 # a dialog that has only just come up may not hear it
        tmux send-keys -t agent -l "$text" || exit 1
        for _ in {1..50}; do
            sleep 0.1
            dialog && [ "$line" = "$shown" ] || exit 0
        done
        echo "it did not take the answer"
        exit 1 # not typed again: it may answer what comes next
    fi
    tmux send-keys -t agent Escape
    for _ in {1..30}; do
        dialog || break
        sleep 0.1
    done
fi
tmux load-buffer -b para "$in/text" && tmux paste-buffer -p -r -d -b para -t agent || exit 1
sleep 0.2 # an agent takes an Enter that comes with a paste for a part of it
dialog && exit 4
exec tmux send-keys -t agent Enter
