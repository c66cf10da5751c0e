"""Read models: pure functions from domain values to the JSON that crosses HTTP, with the words a trader reads."""
