"""A torch module as a workload: one training step and one forward pass, traced under fake tensors.

torch is imported while a module is traced, and by nothing that reads a trace.
"""
