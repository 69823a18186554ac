"""Intervals, tests, power and corrections over arrays of values per seed and test triple; numpy alone, no scipy."""
