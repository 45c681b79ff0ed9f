"""Training: views of cells, objectives without leaks, and the loop."""
