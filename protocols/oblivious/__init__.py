"""Oblivious transfer: one party learns one of two secrets of another, which does not learn which.

`base` makes a few on an elliptic curve, `punctured` turns them into seeds of which all but one are known,
`extension` turns these into as many correlated transfers as are wanted, by AES alone, and `crossing` uses
them for products: a bit of one party's number chooses whether the other's number is added.
"""
