"""What one experiment is: its directory, its training, and the recall of what it left."""
