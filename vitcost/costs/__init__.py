"""What is asked of a workload: report, memory, shards, stored weights, quantities."""
