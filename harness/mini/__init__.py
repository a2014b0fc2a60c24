"""The miniature: drawn questions in the schemas of the real data sets, and the small models that
answer them, so that everything can be tried on a laptop without downloading anything.

What is measured with it says how the method works and nothing about the published models: every
record of it is marked as synthetic.
"""
