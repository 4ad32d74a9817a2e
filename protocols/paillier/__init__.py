"""Paillier's encryption [1]_, additively homomorphic: with it two parties multiply what each holds.

`keys` (one pair a session, and what of a peer's is refused), `fixed_base` (randomness at a fraction of an
exponentiation), `packing` (several signed numbers in a plaintext), `ciphertexts` (vectors of them:
encryption, sums of products, rerandomisation), `product` (inner and matrix products of two parties as
shares), `ciphering` (the same among any number of parties, for `triples`).

All of it needs the packages phe and gmpy2: ``pip install 'fedstats[he]'``. phe is under the GPL, which is why
nothing else of this library needs it.

References
----------
.. [1] P. Paillier, "Public-Key Cryptosystems Based on Composite Degree Residuosity Classes", EUROCRYPT 1999.
"""
