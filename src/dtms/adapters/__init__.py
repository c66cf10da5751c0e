"""What fulfils the ports: the MetaTrader 5 broker, its links to the gateway, and the clocks."""
