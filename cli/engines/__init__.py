"""The real programs behind the suite on one machine, without Docker: built or fetched once, started on loopback.

`python -m cli.engines` (or `make engines`) builds what `recipes` lists into a folder outside the checkout. Each
program has one file here that knows how it is configured, started and asked whether it is well; what is common to
them is in `engine`. Their sources lie in `tools/engines/`, whose README says what each is and what it cannot do.
"""
