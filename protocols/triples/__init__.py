"""Multiplication triples without a dealer, among parties of whom all but one may collude.

Where a majority is honest, shares of a product are made of shares of the factors (`reshare`). Otherwise two
parties' shares must be multiplied with each other, which takes encryption or oblivious transfer. A triple is
that work done beforehand, on random numbers: shares of a, b and c = a·b, of which each one makes one product
(`beaver`).

`source` is the interface of those who multiply: `oblivious.crossing.Crossing`, by transfers, and
`paillier.ciphering.Ciphering`, by Paillier's encryption. Of a triple that takes a third of the bytes, at
several hundred times the seconds; of short numbers that two parties know (`crossed`), a sixtieth of the
bytes at a few times the seconds. The engine takes transfers, or, over links that are said to be slow,
whichever is sooner (`cheaper`). `pool` keeps triples, each of which is used once.
"""
