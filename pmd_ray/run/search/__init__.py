"""A search: trials under Ray Tune that ask one desk for their stages, so that each distinct stage is trained once."""
