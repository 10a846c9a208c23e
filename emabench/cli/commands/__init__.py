"""The commands, one file each: the file's name, with dashes for underscores, is the command's."""
