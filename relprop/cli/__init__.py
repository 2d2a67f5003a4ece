"""The command line: what `python -m relprop` and the command `relprop` do."""
