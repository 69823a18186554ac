"""How masked positions are drawn, by name.

A file has `log_weights(tokens) -> array | None`: a log weight for each token of the flat rows, or None where all weigh
the same. Positions are then drawn without replacement, by Gumbel top-k; weights need that sampling.
"""
