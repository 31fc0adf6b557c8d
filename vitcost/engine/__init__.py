"""The engine: ops over named axes, the layers of a ViT, and their costs."""
