"""Measures: a module each, whose `measure` yields the samples round by round."""
