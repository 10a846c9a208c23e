"""The queue: how a claimed job is worked on."""
