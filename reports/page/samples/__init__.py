"""The samples of the page: every question with every run's answer, in the form the page carries.

Runs on the same questions share one index, which is there at once: what was asked, and for each
run, the best one first, one character a question. All the rest of a question is in a block with
those of its neighbours, compressed, which is unpacked when somebody looks at one of them; so are
the images.

    index    JSON; see `index`
    block    JSON in gzip in base64 in JSON: questions that follow each other; see `blocks`
    images   WebP, one after another, in base64 in JSON; their sizes are in the index

The same answers give the same bytes.
"""
