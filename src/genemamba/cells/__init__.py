"""Cells that are not in memory, and results that do not have to be."""
