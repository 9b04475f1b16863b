#!/bin/bash
# Runs in the session's container, as an exec of the host: ends the agent by its own signal ($1),
# and waits for at most so many seconds ($2). What state it was in stays written down.
out=/para-agent/out
pid=$(cat "$out/pid" 2>/dev/null) || exit 0
pane=$(tmux display-message -p -t agent '#{pane_pid}' 2>/dev/null) || exit 0
grep -qsx "PPid:[[:space:]]*$pane" "/proc/$pid/status" || exit 0
: >"$out/resting"
kill -s "$1" "$pid"
for ((tenths = $2 * 10; tenths > 0; tenths--)); do
    kill -0 "$pid" 2>/dev/null || exit 0
    sleep 0.1
done
