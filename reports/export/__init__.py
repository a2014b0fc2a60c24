"""Tables and runs in the formats that other programs read; a format is a file in `formats`."""
