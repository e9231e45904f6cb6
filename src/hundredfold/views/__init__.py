"""The room views."""
