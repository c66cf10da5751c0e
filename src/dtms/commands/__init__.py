"""Groups of commands, one file each; what is heavy is imported by the command that needs it."""
