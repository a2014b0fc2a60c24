"""Weights that are not published: the minis that come with the package, random ones, and students
of finished distillations. What `--model`, `--weights` and `--size` mean is in `resolve`."""
