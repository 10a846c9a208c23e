"""The random views of a batch, made on the device."""
