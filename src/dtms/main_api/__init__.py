"""The main API, port 8000: executions, the registry, the other managers and plans; thin routes over ``execute``."""
