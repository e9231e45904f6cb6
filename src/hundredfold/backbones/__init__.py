"""timm models that give one vector an image, and their weights."""
