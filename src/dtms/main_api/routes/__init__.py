"""The routes of the main API."""
