#!/bin/bash
# Runs in the session's container, as an exec of the host: types a text for the agent.
text=/para-agent/in/text
[ -e /para-agent/out/pid ] || exit 3
tmux load-buffer -b para "$text" && tmux paste-buffer -p -r -d -b para -t agent || exit 1
sleep 0.1 # an agent takes an Enter that comes with a paste for a part of it
tmux send-keys -t agent Enter
