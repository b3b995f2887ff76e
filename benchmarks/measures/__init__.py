"""What is measured: a module each, whose `measure` yields samples, round by round."""
