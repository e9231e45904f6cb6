"""The room workflows."""
