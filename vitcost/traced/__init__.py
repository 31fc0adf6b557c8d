"""A torch module as a workload: one training step and one forward pass, traced under fake tensors.

torch is imported only to trace a module; reading a trace does not need it.
"""
