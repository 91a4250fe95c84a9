"""Python values that a caller gives as input, and their conversion to `zoo.v1.Instance`.

instances   the kinds of input      rows    rows, series, records and their JSON      cells   one value of a row
"""
