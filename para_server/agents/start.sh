#!/bin/bash
# Runs in the session's container, by main.sh or as an exec of the host: puts the agent under
# supervision. An exec gives it the agent's secrets as variables, and their names in PARA_SECRETS.
# They go on through a pipe in the file system, so that neither tmux nor any file ever has them.
in=/para-agent/in
secrets=/dev/null

mapfile -d '' -t argv <"$in/argv"
command -v -- "${argv[0]}" >/dev/null || { echo "there is no ${argv[0]} in it"; exit 1; }

hidden=(-u PARA_SECRETS)
if [ -n "$PARA_SECRETS" ]; then
    folder=$(mktemp -d) && mkfifo -m 600 "$folder/secrets" || exit 1
    trap 'rm -rf "$folder"' EXIT
    secrets=$folder/secrets
    for name in $PARA_SECRETS; do hidden+=(-u "$name"); done
fi

begun=
for pause in 0 0.3 0.3 0.3 0.3; do # a tmux whose last session has gone may be on its way out
    env "${hidden[@]}" tmux -f "$in/tmux.conf" new-session -d -s agent -x 200 -y 50 \
        bash "$in/supervise.sh" "$secrets" && begun=yes && break
    tmux kill-session -t agent 2>/dev/null # the agent before it
    sleep "$pause"
done
[ -n "$begun" ] || exit 1
[ -n "$PARA_SECRETS" ] || exit 0
# shellcheck disable=SC2016 # the inner shell expands it
timeout 20 bash -c 'for name in $PARA_SECRETS; do printf "%s=%s\0" "$name" "${!name}"; done >"$1"' \
    bash "$secrets"
