"""mcutrain: train neural networks on Cortex-M microcontrollers, and prove it without the hardware."""

__version__ = "0.1.0"
