"""Images → vectors, by a frozen encoder."""
