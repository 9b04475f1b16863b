"""Models and pure functions of para, without files, processes or engines."""
