"""A predictor behind HTTP: images in, what it says of them out."""
