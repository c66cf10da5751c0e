"""The DTMS server's HTTP program: thin routes over the engine's service, the store and the read models."""
