"""How good rationales are, a teacher's and a student's."""
