"""git on the host, and the scripts that run git in one-shot containers."""
