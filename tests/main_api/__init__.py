"""The main API over ASGI, on the simulated terminal."""
