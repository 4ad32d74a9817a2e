"""The demonstration: three sites, three processes, one script, and the proof that it adds up.

`analysis.py` is what each site runs, and is a script like any other. The rest sets the stage:
`data` (each site's rows), `stage` (enrolment and processes), `reference` (the pooled analysis that
real sites could not make), `figures` (the comparison), `report` (what is printed and written).
"""
