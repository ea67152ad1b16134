"""Bench: what single kernels cost on given shapes, by exact counts and the timing model."""
