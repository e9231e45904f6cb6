"""The changed views of an image that pre-training compares."""
