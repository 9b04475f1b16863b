#!/bin/sh
# Runs in the session's container, in a tmux pane: starts the agent, keeps its output, tells its state.
# in:  /para-agent/in/script    out: /para-agent/out/state (state, seconds, detail), .../output
out=/para-agent/out
say() {
    printf '%s\n%s\n%s\n' "$1" "$(date +%s)" "$2" >"$out/state.new" && mv -f "$out/state.new" "$out/state"
}
say working ""
# the exit code goes round the pipe by a file: what tee says is not of interest
{ sh /para-agent/in/script 2>&1; echo $? >"$out/code"; } | tee -a "$out/output"
code=$(cat "$out/code")
if [ "$code" = 0 ]; then say "done" "exit code 0"; else say failed "exit code $code"; fi
# who attaches finds a shell in the workspace
if command -v zsh >/dev/null; then exec zsh; fi
exec sh
