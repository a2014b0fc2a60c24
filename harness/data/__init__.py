"""Data sets: files, the Hub, splits, pictures, selection and fingerprints. No task stands here."""
