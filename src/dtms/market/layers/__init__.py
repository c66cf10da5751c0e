"""The signal layers: each one function from figures to a reading for one side, none knowing another."""
