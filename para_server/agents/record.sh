#!/bin/bash
# Runs in the session's container: copies its input to its output, and appends it to out/output.
# At 4 MiB, that file replaces out/output.old, so an agent that prints endlessly does not fill the
# disk.
trap '' INT QUIT HUP
LC_ALL=C
output=/para-agent/out/output

while IFS= read -r -N 1 first; do # read waits for input, and dd copies what is available
    { printf '%s' "$first" && dd bs=8k count=512 2>/dev/null; } | tee -a "$output"
    [ "$(stat -c %s "$output" 2>/dev/null || echo 0)" -lt 4194304 ] || mv -f "$output" "$output.old"
done
