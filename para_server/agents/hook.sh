#!/bin/bash
# Runs in the session's container, as a hook of the agent: $1 is the state that the event means,
# standard input has the event, and with `kept` as $2 it is logged. The host checks what it writes.
# It prints nothing, since the agent would read that.
exec 2>/dev/null
LC_ALL=C
out=/para-agent/out
[ -e "$out/resting" ] && exit 0
event=$(head -c 32768)
{ read -r state && read -r since; } <"$out/state"
[ "$state" = "$1" ] || since=$EPOCHREALTIME
printf '%s\n%s\n%s\n' "$1" "$since" "$event" >"$out/state.$$" && mv -f "$out/state.$$" "$out/state"
if [ "$2" = kept ]; then
    printf '\036%s\n' "$event" >>"$out/output"
    [ "$(stat -c %s "$out/output")" -lt 4194304 ] || mv -f "$out/output" "$out/output.old"
fi
cat >/dev/null # the rest of a long event is discarded, but must be read
exit 0
