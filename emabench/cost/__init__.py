"""What a run costs: time by phase, throughput, memory, floating-point operations."""
