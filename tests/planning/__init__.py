"""Plans in the main program's loop, on the simulated terminal."""
