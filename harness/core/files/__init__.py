"""How every package writes, reads, locks and names files."""
