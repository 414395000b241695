"""Does pruned reasoning teach? Training sets of ids, students, and what they answer."""
