"""One file per paper family, plain torch: knows no Lightning, no data set, no file.

A new model is one file here: a :class:`zoo.models._base.ZooModel` and a builder decorated with ``@register``.
"""
