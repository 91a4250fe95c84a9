"""Arguments of `zoo predict` as inputs of the client.

read_inputs      the kind of input that a model takes decides who reads an argument
paths            files, folders and archives             files           how a file is opened and decoded
texts            arguments of a text model               known_columns   the columns that a model knows
structured       arguments of a model of rows, series or records:
  tables           rows, records and series of a table     json_inputs     JSON documents and lines
  records          a picture and its row                   plain_series    numbers without a header
tensor_inputs    arguments of a model of tensors only
input_source     one input, and the error of one that cannot be read
"""
