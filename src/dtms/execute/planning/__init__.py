"""Auto-execution plans: looked at in the main program's loop, executed once, followed to their end."""
