"""Private set intersection: which identifiers several parties hold, found under keys that none has alone.

`group` is the group of prime order and its keys, `rounds` how sets travel from party to party under the keys
of all, `intersection` what comes of it: which of a party's items all hold, or how many, or a common list of
random identifiers under which the match itself stays hidden.
"""
