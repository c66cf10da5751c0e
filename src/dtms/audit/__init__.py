"""The invariants of a protected account, checked over the terminal's books and the store."""
