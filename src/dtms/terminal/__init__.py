"""The programs and imitations that stand where the MetaTrader 5 terminal is."""
