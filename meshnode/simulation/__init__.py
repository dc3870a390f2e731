"""A seeded network in virtual time, with faults, invariants and a story."""
