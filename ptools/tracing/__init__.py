"""What size comes out of a layer, and (with PyTorch) of a whole model.

sizes    the arithmetic of one convolution, pooling or transposed convolution; no torch
"""
