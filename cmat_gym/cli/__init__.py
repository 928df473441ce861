"""The `cmat-gym` command: one file a command, heavy imports inside the commands."""
