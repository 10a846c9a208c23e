"""Numbers alone: which runs make an arm, how arms compare, and what follows from it."""
