"""Data sets as uint8 arrays, their batches, and the augmentation of a batch on the device."""
