#!/bin/bash
# Runs in the session's container, as an exec of the host: types in/text for the agent. A dialog
# takes a single digit as it is; for any other text it is closed first, since Enter would say yes.
in=/para-agent/in
out=/para-agent/out
read -r pid 2>/dev/null <"$out/pid" && kill -0 "$pid" || exit 3
template=$(cat "$in/status")
status_file="$HOME/${template/"{pid}"/$pid}"
line=""

dialog() { # by the agent's own status, a line without an end
    [ -n "$template" ] || return 1
    IFS= read -r line 2>/dev/null <"$status_file"
    [[ $line == *'"status":"waiting"'* ]]
}

asks() { # by its hook, which is a little ahead of its screen
    local word="" event=""
    { read -r word && read -r && read -r -n 1 event; } 2>/dev/null <"$out/state"
    [ "$word" = waiting ] && [ "$event" = "{" ]
}

heard() { # its hooks have told something since this was typed
    local word="" since="" event=""
    { read -r word && read -r since && read -r -n 1 event; } 2>/dev/null <"$out/state"
    [[ "$since" > "$begun" ]] && { [ "$word" != waiting ] || [ "$event" = "{" ]; }
}

within() { # so many tenths of a second, until a command succeeds
    local tenths
    for ((tenths = $1; tenths > 0; tenths--)); do
        "${@:2}" && return
        sleep 0.1
    done
    return 1
}

if [ -n "$template" ] && [ ! -e "$status_file" ]; then # it is only starting
    within 300 test -e "$status_file"
    sleep 1
fi
if asks; then within 20 dialog; fi
if dialog; then
    text=$(cat "$in/text")
    shown=$line
    sleep 0.3 # a dialog that has only just come up may not hear it
    if [[ $text == [0-9] ]]; then
        answered() { ! dialog || [ "$line" != "$shown" ]; }
        for _ in 1 2 3; do # it overhears keys that come right after others, so as not to be misled
            tmux send-keys -t agent -l "$text" || exit 1
            within 30 answered && exit 0
        done
        echo "it did not take the answer"
        exit 1
    fi
    tmux send-keys -t agent Escape
    closed() { ! dialog; }
    within 50 closed || exit 4
fi
begun=$EPOCHREALTIME
tmux load-buffer -b para "$in/text" && tmux paste-buffer -p -r -d -b para -t agent || exit 1
for _ in 1 2 3; do
    sleep 0.3 # an agent takes an Enter that comes with a paste for a part of it
    heard && exit 0
    dialog && exit 4
    tmux send-keys -t agent Enter || exit 1
    [ -n "$template" ] || exit 0
    within 10 heard && exit 0 # a further Enter does no harm
done
exit 0
