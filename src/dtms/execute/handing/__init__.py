"""Handing positions to the DTMS server: what appeared and nobody has, and what was executed without a strategy."""
