"""The samples of the page: every question with every run's answer, in the form the page carries.

Runs on the same questions share an index: what was asked, and for each run, the best one first, one
character a question. All the rest of a question is in a block with those of its neighbours. The
page's script unpacks an index when its questions are chosen, a block when somebody looks at one of
its questions, and pictures when they come into sight.

    heads    JSON: which groups of runs there are; see `index`
    index    JSON in gzip in base64, one of each group; see `index`
    block    JSON in gzip in base64: questions that follow each other; see `blocks`
    images   WebP, one after another, in base64; their sizes are in the index

The same answers give the same bytes.
"""
