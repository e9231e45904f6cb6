"""The room backbones."""
