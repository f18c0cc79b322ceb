"""The command `doctor`: what a host does not show, and the command that fixes it."""
