"""The command line: words to settings, help, and what a failure looks like."""
