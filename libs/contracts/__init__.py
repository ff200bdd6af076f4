"""What services say to one another: one declaration per event, frozen, owned by its publisher."""
