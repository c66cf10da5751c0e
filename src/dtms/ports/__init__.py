"""Small protocols between the shell and the world."""
