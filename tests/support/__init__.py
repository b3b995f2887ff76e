"""What tests of several packages start, talk to and measure time with."""
