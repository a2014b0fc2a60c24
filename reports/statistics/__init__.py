"""What is computed over several runs: scores by question, paired tests and ranks, sanity rules."""
