"""What commands share: a session's workspace, container, agent, state and end."""
