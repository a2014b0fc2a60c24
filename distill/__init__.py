"""Structured visual reasoning distillation: a teacher's rationales, a student that learns them."""
