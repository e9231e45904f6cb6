"""The room encode."""
