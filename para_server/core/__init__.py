"""What para is made of, as values and pure functions: no file, no process, no engine."""
