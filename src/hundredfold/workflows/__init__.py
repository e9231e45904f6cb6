"""One function a verb: settings in, run directory out."""
