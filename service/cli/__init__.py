"""The `zoo` command.

    main              the commands, and how their errors end       options     arguments that several commands share
    commands/         one file for a command or a group            inputs/     arguments of `zoo predict` → inputs
    rendering/        tables, progress and sentences               local_catalog   the catalog and weights on this machine
    command_process   how the process is prepared and ends:
      standard_output   streams that take every character            error_messages   an expected error as one sentence
      crash_log         tracebacks of unexpected errors              exit_codes

No module imports anything heavier than typer when it is loaded, so that `zoo --help` is quick; a command imports what it needs.
"""
