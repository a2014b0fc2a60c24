"""Data sets, whatever their task: files, the Hub, splits, pictures, selection, fingerprints."""
