"""The room predict."""
