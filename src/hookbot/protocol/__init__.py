"""What goes over the wire, as values and as bytes. Pure; hub and client share it."""
