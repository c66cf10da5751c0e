"""The main program's engine: the managers beside DTMS over their positions, and what else is run in its loop."""
