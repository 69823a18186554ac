"""Clusters that are not there: stages that take time by a virtual clock, under the real planner and the real walk."""
