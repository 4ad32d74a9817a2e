"""Columns of the same patients at different sites: linked without telling who, and analysed on shares.

`cohort` links the sites' rows by equal identifiers, `similar` those that are alike; `alignment` is where rows
then stand. `joined` brings columns onto shares, the others are analyses: functions of the same names call
them where they are given such a cohort.
"""
