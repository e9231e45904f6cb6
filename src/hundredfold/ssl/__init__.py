"""Self-supervised pre-training: DINO (Caron et al. 2021, arXiv 2104.14294)."""
