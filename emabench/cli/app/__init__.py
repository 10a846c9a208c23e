"""The program around the commands: finding them, printing, asking, stopping."""
