"""Target strings: one text that says where endpoints come from."""
