"""An encoder and a classifier as one folder that labels new images."""
