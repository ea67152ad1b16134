"""The golden reference: NumPy interprets the plan that code generation prints."""
