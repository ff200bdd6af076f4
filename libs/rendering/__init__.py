"""One library for preview, publish and send: Liquid in, content of a channel out."""
