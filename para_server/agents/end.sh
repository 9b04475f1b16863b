#!/bin/bash
# Runs in the session's container, as an exec of the host: ends the agent with the signal $1 and
# waits for at most $2 seconds. The state that it reported last is kept.
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
