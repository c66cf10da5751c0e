"""The routes, by subject; ``table.py`` lists them all."""
