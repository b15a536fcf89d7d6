"""Values and arithmetic: no clock, no threads, no input or output."""
