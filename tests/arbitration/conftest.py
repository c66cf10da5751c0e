"""Installations of real programs, ended whatever a test does."""

from tests.program.conftest import MakeSite, make_site

__all__ = ["MakeSite", "make_site"]
