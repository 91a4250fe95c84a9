"""The `zoo` command.

    main      the verbs, their common fate (one sentence for an expected error), `--version`
    options   arguments that several verbs share           console   what is printed, made harmless
    serve, models, pull, predict, status, finetune, jobs, datasets, versions, doctor      a verb or a few kin each
    live      a job as it goes on                          outcome   how it ended
    words     values as words, and as JSON
    sources   arguments of `zoo predict` → inputs          answers   results → tables and JSON lines
    local     the catalog and the weights on this machine

Modules here import typer and nothing heavier at their top, so that `zoo --help` is quick; a verb imports what it needs.
"""
