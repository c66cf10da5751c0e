"""What is happening: closed bars in, a market view with its regime and scores out. Pure but for ``bars.BarBook``."""
