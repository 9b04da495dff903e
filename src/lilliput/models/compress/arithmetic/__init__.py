"""Rounding and pruning of one weight for one Hessian: numpy arrays in, numpy arrays out, no framework, no model.

The Hessian of a linear layer is the mean of x xᵀ over its calibration inputs x (the same for every output).
"""
