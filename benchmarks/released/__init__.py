"""The algorithm of PMD's released code, written literally from its description (method notes, sections 1, 2 and 5).

It is what this project is measured against, so it does the same work at the same waste: an example's three texts are
tokenised each time it is asked for, a batch is padded to its longest text, every triple is encoded three times (query,
tail, and a head that nothing reads), each occurrence of a text for itself, masked positions are pooled row by row, the
teacher runs every step, and ranking sorts all entities for every query. No algorithm is taken from `pmd_ray`; that both
do the same job is tested: equal tokens, losses and ranks from equal weights and masks.
"""
