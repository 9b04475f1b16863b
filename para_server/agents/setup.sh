#!/bin/bash
# Runs in the session's container, as an exec of the host: runs the setup script $1 of the workspace
# for at most $3 seconds. With `maybe` as $2, the script may be missing. Its background processes
# keep running.
in=/para-agent/in
output=/para-agent/out/output
cd /para-session || exit 1
if [ ! -e "$1" ]; then
    [ "$2" = maybe ] && exit 0
    echo "$1 does not exist" | tee -a "$output"
    exit 127
fi
size=$(stat -c %s "$output" 2>/dev/null || echo 0)
if [ -x "$1" ]; then run=("$(realpath "$1")"); else run=(bash "$1"); fi
: >>"$output" # tail needs it to exist
exec 8> >(exec bash "$in/record.sh" >/dev/null 2>&1)
recorder=$!
sleep infinity 8>&- &
keepalive=$!
# The script writes to the file and tail copies it to the host: the script's background processes
# must not keep the host's stream open.
tail -c "+$((size + 1))" -s 0.1 -F --pid="$keepalive" "$output" 2>/dev/null 8>&- &
tail=$!
set -m # the script gets a process group, which can be killed as a whole
"${run[@]}" >&8 2>&1 </dev/null 8>&- &
script=$!
set +m
exec 8>&-

stop_after() { # waits with read, since a sleep process would have to be stopped too
    exec 9<> <(:)
    read -r -t "$1" -u 9
    kill -TERM -- "-$script"
    read -r -t 5 -u 9
    kill -KILL -- "-$script"
} 2>/dev/null >/dev/null
stop_after "$3" &
timer=$!

wait "$script"
code=$?
if [ "$code" -ne 0 ] && [ "$SECONDS" -ge "$3" ]; then code=124; else kill "$timer"; fi
for _ in {1..40}; do # the script's background processes may keep the pipe open
    kill -0 "$recorder" 2>/dev/null || break
    sleep 0.05
done
kill "$keepalive"
wait "$tail"
exit "$code"
