"""dtms: a Defensive Trade Management System for open MetaTrader 5 positions."""

__version__ = "0.1.0"
