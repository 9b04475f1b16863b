#!/bin/bash
# Runs in the session's container, as an exec of the host: the set-up script $1 of the workspace,
# for at most $3 seconds. What it leaves running goes on.
in=/para-agent/in
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
exec 8> >(exec bash "$in/record.sh" >/dev/null 2>&1)
recorder=$!
sleep infinity 8>&- &
following=$!
# its own output is the host's, and what the script leaves running must not hold that open
tail -c "+$((size + 1))" -s 0.1 -F --pid="$following" "$output" 2>/dev/null 8>&- &
tail=$!
set -m # the script is a group of processes, which ends as one
"${run[@]}" >&8 2>&1 </dev/null 8>&- &
script=$!
set +m
exec 8>&-

watch() { # without a process of its own that would have to be ended
    exec 9<> <(:)
    read -r -t "$1" -u 9
    kill -TERM -- "-$script"
    read -r -t 5 -u 9
    kill -KILL -- "-$script"
} 2>/dev/null >/dev/null
watch "$3" &
watcher=$!

wait "$script"
code=$?
if [ "$code" -ne 0 ] && [ "$SECONDS" -ge "$3" ]; then code=124; else kill "$watcher"; fi
for _ in {1..40}; do # what the script left running may hold the pipe open
    kill -0 "$recorder" 2>/dev/null || break
    sleep 0.05
done
kill "$following"
wait "$tail"
exit "$code"
