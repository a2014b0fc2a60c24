"""What people read: the tables of the paper and of the runs, and the leaderboard page."""
