#!/bin/bash
# Runs in the session's container, as a hook of the agent's: $1 is what the event means, standard
# input tells of it. The host reads and judges it. It prints nothing, which the agent would read.
exec 2>/dev/null
LC_ALL=C
out=/para-agent/out
[ -e "$out/resting" ] && exit 0
event=$(head -c 32768)
{ read -r word && read -r since; } <"$out/state"
[ "$word" = "$1" ] || since=$EPOCHREALTIME
printf '%s\n%s\n%s\n' "$1" "$since" "$event" >"$out/state.$$" && mv -f "$out/state.$$" "$out/state"
if [ "$2" = kept ]; then
    printf '\036%s\n' "$event" >>"$out/output"
    [ "$(stat -c %s "$out/output")" -lt 4194304 ] || mv -f "$out/output" "$out/output.old"
fi
cat >/dev/null # what is longer is of no interest, but must be taken
exit 0
