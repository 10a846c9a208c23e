"""Where images come from: arrays, folders, and what is known of each data set."""
