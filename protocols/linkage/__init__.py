"""Private linkage of records that are alike, but need not be equal: what a typing error leaves of a name.

`filters` turns a record into bits such that records that are alike have many of them in common, `matching`
finds on shares who is whose best match: neither a filter nor a similarity nor a match is ever opened.
"""
