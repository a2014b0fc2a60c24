"""What a report is made from: runs and distillations on disk, and the tables of the paper."""
