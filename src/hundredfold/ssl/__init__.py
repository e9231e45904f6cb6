"""The room ssl."""
