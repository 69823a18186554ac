"""Builds the bundled knowledge graph from Unicode CLDR: read triples, make and describe entities, split, write.

Nothing random but the seeded split, no network, no clock: one Babel version gives the same bytes on every machine.
`scripts/build_cldr_graph.py` is the command.
"""
