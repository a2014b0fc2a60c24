"""The leaderboard page: one HTML file, its sections, its samples and its templates."""
