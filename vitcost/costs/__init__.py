"""Answers about a workload: report, memory, shards, stored weights, quantities."""
