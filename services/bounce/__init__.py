"""Facts about addresses: bounces, complaints, and the suppressions that follow from them."""
