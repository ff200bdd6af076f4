"""The services of the suite: each owner of its data, meeting only through libs.contracts and HTTP."""
