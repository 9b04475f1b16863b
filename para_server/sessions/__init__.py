"""Operations on sessions that commands share: find, lock, create, suspend, extract and end."""
