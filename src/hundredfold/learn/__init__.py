"""Few labels → classifiers, and how good they are."""
