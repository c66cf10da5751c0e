"""A terminal that behaves like MetaTrader 5, fed by recorded markets."""
