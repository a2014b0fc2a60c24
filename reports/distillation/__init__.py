"""The panel of a distillation: gains, training, rationales and examples."""
