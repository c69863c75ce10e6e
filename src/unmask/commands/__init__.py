"""What a person types: a word names a command, a command is one config and its `run()`."""
