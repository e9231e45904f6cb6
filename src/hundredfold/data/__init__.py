"""Files → images, labels, splits, pixels."""
