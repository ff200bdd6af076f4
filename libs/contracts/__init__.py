"""The events and commands between services: one declaration per event, frozen, owned by its publisher."""
