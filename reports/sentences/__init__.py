"""The one voice: codes, typed facts and numbers of a document become sentences here and nowhere else.

`numbers` writes every number, `names` every id, `templates` the clauses of each finding; `compose`, `verdict`,
`comparison`, `claim`, `repair`, `target` and `steps` make sentences of them. Nothing here measures, joins or judges.
"""
