"""ef-squeue: the queue as a table (`columns`) or as the story of one job (`story`)."""
