"""Who teaches a grade, by name. A file has `choose(position, has_teacher) -> int | None`.

`position` is the grade's place in the chain, `has_teacher[i]` whether grade i itself has a teacher; the result is the
position of an earlier grade, or None for a grade that learns from labels alone.
"""
