#!/bin/bash
# Runs in the session's container, as an exec of the host: the set-up script $1 of the workspace.
# It writes to a file and not to a pipe, so that what it leaves running goes on.
output=/para-agent/out/output
cd /para-session || exit 1
if [ ! -e "$1" ]; then
    [ "$2" = maybe ] && exit 0
    echo "There is no $1" | tee -a "$output"
    exit 127
fi
size=$(stat -c %s "$output" 2>/dev/null || echo 0)
if [ -x "$1" ]; then run=("$(realpath "$1")"); else run=(bash "$1"); fi
: >>"$output" # there before anybody follows it
"${run[@]}" >>"$output" 2>&1 </dev/null &
script=$!
tail -c "+$((size + 1))" -s 0.1 -f --pid="$script" "$output" &
wait "$script"
code=$?
wait
exit "$code"
