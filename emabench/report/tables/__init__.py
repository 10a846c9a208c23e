"""Tables that the commands print, one file each."""
