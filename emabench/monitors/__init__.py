"""Instruments that watch a training: gradients at the blocks, and how the embeddings spread."""
