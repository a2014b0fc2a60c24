"""Structured visual reasoning distillation: rationales from a teacher, a student that learns them."""
