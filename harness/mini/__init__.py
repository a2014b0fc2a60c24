"""The miniature: how the small models that come with the package are trained on synthetic
questions, and the demo that distills one of them.

What is measured with it says how the method works and nothing about the published models: every
record of it is marked as synthetic.
"""
