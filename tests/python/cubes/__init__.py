"""Cubes over HTTP."""
