#!/bin/bash
# Runs in the session's container, from main.sh or as an exec of the host: starts the agent under
# its supervisor. An exec passes the agent's secrets as variables, and their names in PARA_SECRETS.
# The supervisor reads them from a named pipe, so that they are neither in tmux nor in a file.
in=/para-agent/in
secrets=/dev/null

mapfile -d '' -t argv <"$in/argv"
command -v -- "${argv[0]}" >/dev/null || { echo "${argv[0]} is not installed"; exit 1; }

hidden=(-u PARA_SECRETS)
if [ -n "$PARA_SECRETS" ]; then
    folder=$(mktemp -d) && mkfifo -m 600 "$folder/secrets" || exit 1
    trap 'rm -rf "$folder"' EXIT
    secrets=$folder/secrets
    for name in $PARA_SECRETS; do hidden+=(-u "$name"); done
fi

started=
for pause in 0 0.3 0.3 0.3 0.3; do # a tmux server whose last session has ended may be exiting
    env "${hidden[@]}" tmux -f "$in/tmux.conf" new-session -d -s agent -x 200 -y 50 \
        bash "$in/supervise.sh" "$secrets" && started=yes && break
    tmux kill-session -t agent 2>/dev/null # of the previous agent
    sleep "$pause"
done
[ -n "$started" ] || exit 1
[ -n "$PARA_SECRETS" ] || exit 0
# shellcheck disable=SC2016 # the inner shell expands it
timeout 20 bash -c 'for name in $PARA_SECRETS; do printf "%s=%s\0" "$name" "${!name}"; done >"$1"' \
    bash "$secrets"
