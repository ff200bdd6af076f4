"""The real programs behind the suite on one machine, without Docker: built or fetched once, started on loopback.

`python -m cli.engines` (or `make engines`) builds what `recipes` lists into a folder outside the checkout. Each
program has one file here that knows how to configure it, start it and check its health; `engine` has what they share.
Their sources are in `tools/engines/`, whose README says what each is and what it cannot do.
"""
